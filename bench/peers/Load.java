// One load by the Java client, with the client's defaults but for what is said here; see the head of load.c, which does
// the same with librdkafka, for what it takes and prints.
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Load {
    private static final AtomicReference<Exception> FAILURE = new AtomicReference<>();

    public static void main(String[] argument) throws Exception {
        String[] rest = Arrays.copyOfRange(argument, 1, argument.length);
        switch (argument[0] + rest.length) {
            case "produce8" -> produce(rest);
            case "rate7" -> rate(rest);
            case "consume4" -> consume(rest);
            default -> throw new IllegalArgumentException("see the head of load.c for what it takes");
        }
        System.out.flush();
        Runtime.getRuntime().halt(0); // what closing the client takes is nobody's measure
    }

    private static KafkaProducer<byte[], byte[]> producer(String bootstrap, String lingerMs, String batchBytes) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        settings.put("linger.ms", lingerMs);
        settings.put("batch.size", batchBytes);
        settings.put("buffer.memory", "67108864");
        settings.put("max.block.ms", "300000");
        settings.put("delivery.timeout.ms", "300000");
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static byte[] value(String size) {
        byte[] value = new byte[Integer.parseInt(size)];
        Arrays.fill(value, (byte) 'x');
        return value;
    }

    private static void produce(String[] argument) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(argument[0], argument[3], argument[4]);
        byte[] value = value(argument[2]);
        long warm = flood(producer, argument[1], value, Double.parseDouble(argument[5]), 0);
        long began = System.nanoTime();
        long sent = flood(producer, argument[1], value, Double.parseDouble(argument[6]), Long.parseLong(argument[7]));
        double seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf(Locale.ROOT, "{\"warm\": %d, \"records\": %d, \"seconds\": %.6f}%n", warm, sent, seconds);
    }

    private static long flood(
            KafkaProducer<byte[], byte[]> producer, String topic, byte[] value, double seconds, long most)
            throws Exception {
        Callback onlyGood = (written, failure) -> {
            if (failure != null) FAILURE.compareAndSet(null, failure);
        };
        long sent = 0;
        long began = System.nanoTime();
        while (most > 0 ? sent < most : System.nanoTime() - began < seconds * 1e9) {
            for (int i = 0; i < 100 && (most == 0 || sent < most); i++, sent++) {
                producer.send(new ProducerRecord<>(topic, value), onlyGood);
            }
        }
        producer.flush();
        if (FAILURE.get() != null) throw FAILURE.get();
        return sent;
    }

    private static void rate(String[] argument) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(argument[0], "0", "16384");
        String topic = argument[1];
        byte[] value = value(argument[2]);
        double perS = Double.parseDouble(argument[3]);
        int partitions = Integer.parseInt(argument[4]);
        double warmS = Double.parseDouble(argument[5]);
        int records = (int) ((warmS + Double.parseDouble(argument[6])) * perS);
        producer.partitionsFor(topic);
        double[] latency = new double[records];
        long[] failed = {0};
        double[] longestGap = {0};
        long[] last = new long[1024];
        long began = System.nanoTime();
        for (int number = 0; number < records; number++) {
            long due = began + (long) (number / perS * 1e9);
            for (long early; (early = due - System.nanoTime()) > 0; ) {
                LockSupport.parkNanos(early);
            }
            Integer partition = partitions == 0 ? null : number % partitions;
            int slot = number;
            producer.send(new ProducerRecord<>(topic, partition, null, value), (written, failure) -> {
                long at = System.nanoTime(); // the client's one thread of its own runs this
                latency[slot] = failure == null ? (at - due) / 1e9 : -1;
                if (failure != null) {
                    failed[0]++;
                } else if (due >= began + warmS * 1e9 && written.partition() < last.length) {
                    double since = Math.max(last[written.partition()], began + warmS * 1e9);
                    longestGap[0] = Math.max(longestGap[0], (at - since) / 1e9);
                    last[written.partition()] = at;
                }
            });
        }
        producer.flush();
        double[] counted = Arrays.stream(latency, (int) (warmS * perS), records).filter(one -> one >= 0).toArray();
        if (counted.length == 0) throw new IllegalStateException("no record was acknowledged");
        Arrays.sort(counted);
        System.out.printf(
                Locale.ROOT,
                "{\"records\": %d, \"failed\": %d, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"longest_gap_s\": %.6f}%n",
                records,
                failed[0],
                1e3 * counted[(counted.length - 1) / 2],
                1e3 * counted[(int) ((counted.length - 1) * 0.99)],
                longestGap[0]);
    }

    private static void consume(String[] argument) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", argument[0]);
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", "10000");
        KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> partitions = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(argument[2]); number++) {
            partitions.add(new TopicPartition(argument[1], number));
        }
        consumer.assign(partitions);
        partitions.forEach(one -> consumer.seek(one, 0));
        long wanted = Long.parseLong(argument[3]);
        long records = 0;
        long bytes = 0;
        long began = 0;
        long heard = System.nanoTime();
        while (records < wanted) {
            ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(100));
            long at = System.nanoTime();
            if (!polled.isEmpty()) heard = at;
            if (at - heard > 60e9) throw new IllegalStateException("no record came for a minute");
            if (began == 0 && !polled.isEmpty()) began = at;
            for (ConsumerRecord<byte[], byte[]> record : polled) {
                records++;
                bytes += record.value().length;
            }
        }
        double seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf(Locale.ROOT, "{\"records\": %d, \"bytes\": %d, \"seconds\": %.6f}%n", records, bytes, seconds);
    }
}
