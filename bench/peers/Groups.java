// Members of consumer groups, by the Java client with the client's defaults but for what is said here. Each load prints
// one line of JSON at its end, and `ready` alone before what is looked at from outside.
//
//   rebalance BOOTSTRAP TOPIC PARTITIONS GROUP MEMBERS    one more joins so many: until all have their share
//   commits BOOTSTRAP TOPIC PARTITIONS GROUP MEMBERS WARM_S SECONDS    each commits again as soon as it may
//   idle BOOTSTRAP TOPIC PARTITIONS GROUP MEMBERS         polls until standard input ends
//   first BOOTSTRAP TOPIC GROUP PROTOCOL WARM COUNT       new groups of one member each: until the first record
//   gap BOOTSTRAP TOPIC GROUP PROTOCOL SECONDS            commits every 10 ms: the longest time without
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Groups {
    private static final double PATIENCE_S = 300;
    private static final double POLL_EVERY_S = 1; // by members who have something else to do
    private static final AtomicReference<Exception> FAILURE = new AtomicReference<>();

    public static void main(String[] argument) throws Exception {
        String[] rest = Arrays.copyOfRange(argument, 1, argument.length);
        switch (argument[0] + rest.length) {
            case "rebalance5" -> rebalance(rest);
            case "commits7" -> commits(rest);
            case "idle5" -> idle(rest);
            case "first6" -> first(rest);
            case "gap5" -> gap(rest);
            default -> throw new IllegalArgumentException("see the head of Groups.java for what it takes");
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String group, String protocol) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("group.protocol", protocol);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** One member with a thread of its own, which polls and nothing else unless `turn` is given. */
    private static final class Member {
        final AtomicLong turns = new AtomicLong();
        volatile Set<TopicPartition> assigned = Set.of();
        volatile int revoked;

        interface Turn {
            void take(KafkaConsumer<byte[], byte[]> consumer, Set<TopicPartition> assigned, long number);
        }

        Member(String bootstrap, String topic, String group, Duration poll, Turn turn) {
            Thread thread = new Thread(() -> {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, group, "consumer")) {
                    consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                            revoked += partitions.size();
                        }

                        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}
                    });
                    long polled = 0;
                    while (true) {
                        if (turn == null || assigned.isEmpty() || System.nanoTime() - polled > POLL_EVERY_S * 1e9) {
                            consumer.poll(poll);
                            assigned = Set.copyOf(consumer.assignment());
                            polled = System.nanoTime();
                        }
                        if (turn != null && !assigned.isEmpty()) {
                            turn.take(consumer, assigned, turns.get());
                            turns.incrementAndGet();
                        }
                    }
                } catch (Exception failure) {
                    FAILURE.compareAndSet(null, failure);
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
    }

    private static void untilShared(List<Member> members, int partitions) throws Exception {
        long began = System.nanoTime();
        int least = partitions / members.size();
        int most = least + (partitions % members.size() == 0 ? 0 : 1);
        while (true) {
            if (FAILURE.get() != null) throw FAILURE.get();
            int[] counts = members.stream().mapToInt(one -> one.assigned.size()).toArray();
            int sum = Arrays.stream(counts).sum();
            if (sum == partitions && Arrays.stream(counts).allMatch(count -> count >= least && count <= most)) return;
            if (System.nanoTime() - began > PATIENCE_S * 1e9) {
                throw new IllegalStateException("not shared in time: " + Arrays.toString(counts));
            }
            Thread.sleep(2);
        }
    }

    private static List<Member> sharing(String[] argument, Duration poll, Member.Turn turn) throws Exception {
        List<Member> members = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(argument[4]); number++) {
            members.add(new Member(argument[0], argument[1], argument[3], poll, turn));
        }
        untilShared(members, Integer.parseInt(argument[2]));
        return members;
    }

    private static void rebalance(String[] argument) throws Exception {
        Duration poll = Duration.ofMillis(20);
        List<Member> members = sharing(argument, poll, null);
        Thread.sleep(7000); // the last of them may still be telling what it has: by the next heartbeat it has told
        int before = members.stream().mapToInt(one -> one.revoked).sum();
        long began = System.nanoTime();
        members.add(new Member(argument[0], argument[1], argument[3], poll, null));
        untilShared(members, Integer.parseInt(argument[2]));
        double seconds = (System.nanoTime() - began) / 1e9;
        int moved = members.stream().mapToInt(one -> one.revoked).sum() - before;
        System.out.printf(Locale.ROOT, "{\"seconds\": %.6f, \"moved\": %d}%n", seconds, moved);
    }

    private static void commits(String[] argument) throws Exception {
        List<Member> members = sharing(argument, Duration.ZERO, (consumer, assigned, number) -> {
            TopicPartition own = assigned.iterator().next();
            consumer.commitSync(Map.of(own, new OffsetAndMetadata(number)));
        });
        Thread.sleep((long) (1000 * Double.parseDouble(argument[5])));
        long before = members.stream().mapToLong(one -> one.turns.get()).sum();
        long began = System.nanoTime();
        Thread.sleep((long) (1000 * Double.parseDouble(argument[6])));
        long commits = members.stream().mapToLong(one -> one.turns.get()).sum() - before;
        double seconds = (System.nanoTime() - began) / 1e9;
        if (FAILURE.get() != null) throw FAILURE.get();
        System.out.printf(Locale.ROOT, "{\"commits\": %d, \"seconds\": %.6f}%n", commits, seconds);
    }

    private static void idle(String[] argument) throws Exception {
        sharing(argument, Duration.ofSeconds(1), null);
        System.out.println("ready");
        while (System.in.read() >= 0) {}
        if (FAILURE.get() != null) throw FAILURE.get();
        System.out.println("{}");
    }

    private static void first(String[] argument) {
        StringBuilder said = new StringBuilder();
        int warm = Integer.parseInt(argument[4]);
        for (int number = 0; number < warm + Integer.parseInt(argument[5]); number++) {
            long began = System.nanoTime();
            try (KafkaConsumer<byte[], byte[]> consumer = consumer(argument[0], argument[2] + "-" + number, argument[3])) {
                consumer.subscribe(List.of(argument[1]));
                while (consumer.poll(Duration.ofMillis(100)).isEmpty()) {
                    if (System.nanoTime() - began > PATIENCE_S * 1e9) throw new IllegalStateException("no record came");
                }
                double ms = (System.nanoTime() - began) / 1e6;
                if (number >= warm) said.append(said.isEmpty() ? "" : ", ").append(String.format(Locale.ROOT, "%.3f", ms));
            }
        }
        System.out.printf("{\"ms\": [%s]}%n", said);
    }

    private static void gap(String[] argument) throws Exception {
        long failed = 0;
        double longest = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(argument[0], argument[2], argument[3])) {
            consumer.subscribe(List.of(argument[1]));
            while (consumer.assignment().isEmpty()) {
                consumer.poll(Duration.ofMillis(50));
            }
            TopicPartition own = consumer.assignment().iterator().next();
            consumer.commitSync(Map.of(own, new OffsetAndMetadata(0)));
            System.out.println("ready");
            System.out.flush();
            long began = System.nanoTime();
            long last = began;
            for (long number = 0; System.nanoTime() - began < Double.parseDouble(argument[4]) * 1e9; number++) {
                Thread.sleep(10);
                try {
                    consumer.commitSync(Map.of(own, new OffsetAndMetadata(number)));
                } catch (KafkaException failure) {
                    failed++;
                    consumer.poll(Duration.ZERO);
                    continue;
                }
                long at = System.nanoTime();
                longest = Math.max(longest, (at - last) / 1e9);
                last = at;
            }
            longest = Math.max(longest, (System.nanoTime() - last) / 1e9);
        }
        System.out.printf(Locale.ROOT, "{\"longest_gap_s\": %.6f, \"failed\": %d}%n", longest, failed);
    }
}
