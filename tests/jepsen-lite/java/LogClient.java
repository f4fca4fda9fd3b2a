import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's Java client behind jepsen_lite/java_client.py: a line of JSON is a request, answered by a line with its id.
 *
 * <p>Each producer and each consumer has a thread of its own, which does its requests one after the other; records are
 * answered when they are delivered. Bytes are told as the Latin-1 text of them.
 */
public final class LogClient {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final LinkedBlockingQueue<String> SAID = new LinkedBlockingQueue<>();
    private static final Map<String, ExecutorService> THREADS = new ConcurrentHashMap<>();
    private static final Map<String, KafkaProducer<byte[], byte[]>> PRODUCERS = new ConcurrentHashMap<>();
    private static final Map<String, Reader> READERS = new ConcurrentHashMap<>();

    /** A consumer, and which partitions came and went since it was last asked. */
    private record Reader(KafkaConsumer<byte[], byte[]> consumer, Set<String> changed)
            implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(one -> changed.add(one.topic() + " " + one.partition()));
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            onPartitionsRevoked(partitions);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Thread speaker = new Thread(LogClient::speak);
        speaker.setDaemon(true);
        speaker.start();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode asked = JSON.readTree(line);
            String name = asked.path("on").asText();
            THREADS.computeIfAbsent(name, ignored -> Executors.newSingleThreadExecutor())
                    .execute(() -> answer(name, asked));
        }
        Runtime.getRuntime().halt(0);
    }

    private static void speak() {
        try (BufferedWriter output =
                new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), 1 << 16)) {
            while (true) {
                output.write(SAID.take());
                for (String more = SAID.poll(); more != null; more = SAID.poll()) {
                    output.write(more);
                }
                output.flush();
            }
        } catch (Exception error) {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void say(ObjectNode answer) {
        SAID.add(answer + "\n");
    }

    private static void answer(String name, JsonNode asked) {
        ObjectNode answer = JSON.createObjectNode().put("id", asked.path("id").asLong());
        try {
            if (asked.path("do").asText().equals("send")) {
                send(name, asked, answer);
                return;
            }
            handle(name, asked, answer);
        } catch (Exception error) {
            answer.put("error", error.toString());
        }
        say(answer);
    }

    private static void send(String name, JsonNode asked, ObjectNode answer) {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                asked.path("topic").asText(), asked.path("partition").asInt(), bytes(asked.get("key")), bytes(asked.get("value")));
        for (JsonNode header : asked.path("headers")) {
            record.headers().add(header.get(0).asText(), bytes(header.get(1)));
        }
        PRODUCERS.get(name).send(record, (told, error) -> {
            if (error != null) {
                answer.put("error", error.toString());
            } else if (told.hasOffset()) {
                answer.put("offset", told.offset());
            }
            say(answer);
        });
    }

    private static void handle(String name, JsonNode asked, ObjectNode answer) throws Exception {
        switch (asked.path("do").asText()) {
            case "producer" -> PRODUCERS.put(
                    name, new KafkaProducer<>(config(asked), new ByteArraySerializer(), new ByteArraySerializer()));
            case "flush" -> PRODUCERS.get(name).flush();
            case "close_producer" -> {
                PRODUCERS.remove(name).close();
                THREADS.remove(name).shutdown();
            }
            case "consumer" -> READERS.put(
                    name,
                    new Reader(
                            new KafkaConsumer<>(config(asked), new ByteArrayDeserializer(), new ByteArrayDeserializer()),
                            new TreeSet<>()));
            case "close_consumer" -> {
                READERS.remove(name).consumer().close();
                THREADS.remove(name).shutdown();
            }
            default -> read(READERS.get(name), asked, answer);
        }
    }

    private static void read(Reader reader, JsonNode asked, ObjectNode answer) {
        KafkaConsumer<byte[], byte[]> consumer = reader.consumer();
        switch (asked.path("do").asText()) {
            case "assign" -> {
                consumer.assign(partitions(asked));
                offsets(asked).forEach((partition, offset) -> consumer.seek(partition, offset.offset()));
            }
            case "subscribe" -> {
                List<String> topics = new ArrayList<>();
                asked.path("topics").forEach(topic -> topics.add(topic.asText()));
                consumer.subscribe(topics, reader);
            }
            case "poll" -> {
                ArrayNode records = answer.putArray("records");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(asked.path("ms").asLong()))) {
                    tell(record, records.addArray());
                }
                reader.changed().forEach(answer.putArray("changed")::add);
                reader.changed().clear();
            }
            case "ends" -> tell(consumer.endOffsets(partitions(asked)), answer);
            case "positions" -> {
                Map<TopicPartition, Long> positions = new HashMap<>();
                partitions(asked).forEach(one -> positions.put(one, consumer.position(one)));
                tell(positions, answer);
            }
            case "commit" -> {
                answer.put("epoch", consumer.groupMetadata().generationId());
                consumer.commitSync(offsets(asked));
            }
            case "committed" -> {
                Map<TopicPartition, Long> found = new HashMap<>();
                consumer.committed(Set.copyOf(partitions(asked))).forEach((one, offset) -> {
                    if (offset != null) {
                        found.put(one, offset.offset());
                    }
                });
                tell(found, answer);
            }
            default -> throw new IllegalArgumentException("unknown request " + asked);
        }
    }

    private static Map<String, Object> config(JsonNode asked) {
        Map<String, Object> config = new HashMap<>();
        asked.path("config").properties().forEach(one -> config.put(one.getKey(), one.getValue().asText()));
        return config;
    }

    private static List<TopicPartition> partitions(JsonNode asked) {
        List<TopicPartition> partitions = new ArrayList<>();
        asked.path("partitions").forEach(one -> partitions.add(new TopicPartition(one.get(0).asText(), one.get(1).asInt())));
        return partitions;
    }

    private static Map<TopicPartition, OffsetAndMetadata> offsets(JsonNode asked) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode one : asked.path("partitions")) {
            offsets.put(
                    new TopicPartition(one.get(0).asText(), one.get(1).asInt()), new OffsetAndMetadata(one.get(2).asLong()));
        }
        return offsets;
    }

    private static void tell(Map<TopicPartition, Long> offsets, ObjectNode answer) {
        ArrayNode told = answer.putArray("offsets");
        offsets.forEach((one, offset) -> told.addArray().add(one.topic()).add(one.partition()).add(offset));
    }

    private static void tell(ConsumerRecord<byte[], byte[]> record, ArrayNode told) {
        told.add(record.topic()).add(record.partition()).add(record.offset()).add(text(record.key())).add(text(record.value()));
        ArrayNode headers = told.addArray();
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(text(header.value()));
        }
    }

    private static byte[] bytes(JsonNode text) {
        return text == null || text.isNull() ? null : text.asText().getBytes(StandardCharsets.ISO_8859_1);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.ISO_8859_1);
    }
}
