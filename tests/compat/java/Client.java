import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Kafka's Java client behind the requests of ../programs.py: one line of JSON for a request, one for its answer. */
public final class Client {
    private static final double PATIENCE_S = 60;
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));
    private static Map<String, Object> known;

    public static void main(String[] arguments) throws Exception {
        known = Map.of("bootstrap.servers", arguments[0]);
        for (String line = INPUT.readLine(); line != null; line = INPUT.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                handle(JSON.readTree(line), answer);
            } catch (Exception error) {
                Throwable told = error instanceof ExecutionException ? error.getCause() : error;
                answer = JSON.createObjectNode().put("error", told.toString());
            }
            System.out.println(answer);
        }
    }

    private static void handle(JsonNode asked, ObjectNode answer) throws Exception {
        String topic = asked.path("topic").asText();
        TopicPartition first = new TopicPartition(topic, 0);
        switch (asked.path("do").asText()) {
            case "produce" -> produce(asked, topic);
            case "consume" -> {
                try (Consumer<String, String> consumer = consumer(Map.of())) {
                    consumer.assign(List.of(first));
                    consumer.seek(first, asked.path("offset").asLong());
                    read(consumer, asked, answer);
                }
            }
            case "consume_since" -> {
                try (Consumer<String, String> consumer = consumer(Map.of())) {
                    consumer.assign(List.of(first));
                    long time = asked.path("timestamp_ms").asLong();
                    consumer.seek(first, consumer.offsetsForTimes(Map.of(first, time)).get(first).offset());
                    read(consumer, asked, answer);
                }
            }
            case "subscribe" -> {
                String group = asked.path("group").asText();
                try (Consumer<String, String> consumer =
                        consumer(Map.of("group.id", group, "auto.offset.reset", "earliest"))) {
                    consumer.subscribe(List.of(topic));
                    read(consumer, asked, answer);
                }
            }
            case "join" -> join(asked, topic);
            default -> {
                try (Admin admin = Admin.create(known)) {
                    administer(admin, asked, topic, answer);
                }
            }
        }
    }

    private static void administer(Admin admin, JsonNode asked, String topic, ObjectNode answer) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        int partitions = asked.path("partitions").asInt();
        switch (asked.path("do").asText()) {
            case "create_topic" -> admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 3))).all().get();
            case "delete_topic" -> admin.deleteTopics(List.of(topic)).all().get();
            case "grow_topic" ->
                admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get();
            case "alter_topic" -> {
                Collection<AlterConfigOp> changes = new ArrayList<>();
                for (Map.Entry<String, JsonNode> config : asked.path("configs").properties()) {
                    ConfigEntry entry = new ConfigEntry(config.getKey(), config.getValue().asText());
                    changes.add(new AlterConfigOp(entry, AlterConfigOp.OpType.SET));
                }
                admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
            }
            case "topic_configs" -> {
                ObjectNode configs = answer.putObject("configs");
                for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
                    configs.put(entry.name(), entry.value());
                }
            }
            default -> throw new IllegalArgumentException("unknown request " + asked);
        }
    }

    private static void produce(JsonNode asked, String topic) throws Exception {
        Map<String, Object> config = new HashMap<>(known);
        config.put("compression.type", asked.path("codec").asText());
        config.put("acks", "all");
        config.put("linger.ms", 20);
        try (Producer<String, String> producer =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            List<JsonNode> values = new ArrayList<>();
            asked.path("values").forEach(values::add);
            int middle = values.size() / 2;
            send(producer, topic, values.subList(0, middle));
            System.out.println("{\"half\": true}");
            INPUT.readLine();
            send(producer, topic, values.subList(middle, values.size()));
        }
    }

    private static void send(Producer<String, String> producer, String topic, List<JsonNode> values) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode value : values) {
            sent.add(producer.send(new ProducerRecord<>(topic, 0, null, value.asText())));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            one.get();
        }
    }

    private static void join(JsonNode asked, String topic) throws Exception {
        long deadline = System.nanoTime() + (long) (asked.path("seconds").asDouble() * 1e9);
        Map<String, Object> config = Map.of(
                "group.id", asked.path("group").asText(), "auto.offset.reset", "earliest", "auto.commit.interval.ms", 200);
        try (Consumer<String, String> consumer = consumer(config)) {
            consumer.subscribe(List.of(topic));
            while (!INPUT.ready() && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    ObjectNode said = JSON.createObjectNode();
                    said.putArray("read").add(record.partition()).add(record.value());
                    System.out.println(said);
                }
            }
        }
        INPUT.readLine();
    }

    private static Consumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(known);
        config.putAll(more);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private static void read(Consumer<String, String> consumer, JsonNode asked, ObjectNode answer) {
        double patience = asked.path("seconds").asDouble(PATIENCE_S);
        long deadline = System.nanoTime() + (long) (patience * 1e9);
        int count = asked.path("count").asInt();
        List<String> values = new ArrayList<>();
        while (values.size() < count && System.nanoTime() < deadline) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                if (values.size() < count) {
                    values.add(record.value());
                }
            }
        }
        if (values.size() < count) {
            throw new IllegalStateException(values.size() + " of " + count + " came within " + patience + " s");
        }
        values.forEach(answer.putArray("values")::add);
    }
}
