import java.io.File;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.PartitionMetadataFile;
import org.apache.kafka.storage.internals.log.ProducerStateManager;
import org.apache.kafka.tools.DumpLogSegments;

/** Says what Apache Kafka's own readers find in a node's directory: a line a thing, its fields apart by tabs. */
public final class ReadFiles {
    public static void main(String[] arguments) throws Exception {
        File directory = new File(arguments[0]);
        for (File file : list(directory, "-checkpoint"))
            new OffsetCheckpointFile(file, null).read().forEach((log, offset) -> say("offset", file.getName(), log, offset));
        for (File folder : list(directory, "-[0-9]+")) {
            say("folder", folder.getName(), new PartitionMetadataFile(PartitionMetadataFile.newFile(folder), null).read().topicId());
            for (var epoch : new LeaderEpochCheckpointFile(LeaderEpochCheckpointFile.newFile(folder), null).read())
                say("epoch", epoch.epoch(), epoch.startOffset());
            for (File file : list(folder, "[.]log"))
                records(file);
            for (File file : list(folder, "[.]snapshot"))
                for (var one : ProducerStateManager.readSnapshot(file))
                    say("producer", file.getName(), one.producerId(), one.producerEpoch(), one.batchMetadata().stream().map(String::valueOf).collect(Collectors.joining(" ")));
            String files = Arrays.stream(list(folder, "[.](log|index|timeindex|snapshot)")).map(File::getPath).collect(Collectors.joining(","));
            for (String option : List.of("--deep-iteration", "--index-sanity-check", "--verify-index-only")) {
                say("dump", option);
                DumpLogSegments.main(new String[] {"--files", files, option});
            }
        }
    }

    private static void records(File file) throws Exception {
        try (FileRecords records = FileRecords.open(file, false)) {
            for (RecordBatch batch : records.batches()) {
                batch.ensureValid();
                say("batch", batch.baseOffset(), batch.lastOffset(), batch.compressionType().name, batch.timestampType(), batch.maxTimestamp(),
                    batch.producerId(), batch.producerEpoch(), batch.baseSequence(), batch.partitionLeaderEpoch());
                for (Record record : batch)
                    say("record", record.offset(), record.timestamp(), text(record.key()), text(record.value()),
                        Arrays.stream(record.headers()).map(ReadFiles::text).collect(Collectors.joining(",")));
            }
            say("end", file.getName(), records.sizeInBytes());
        }
    }

    private static File[] list(File folder, String ending) {
        File[] found = folder.listFiles((in, name) -> name.matches(".*" + ending));
        Arrays.sort(found);
        return found;
    }

    private static String text(Header header) {
        return header.key() + "=" + (header.value() == null ? "null" : text(ByteBuffer.wrap(header.value())));
    }

    private static String text(ByteBuffer bytes) {
        if (bytes == null)
            return "null";
        byte[] copy = new byte[bytes.remaining()];
        bytes.get(copy);
        return "#" + Base64.getEncoder().encodeToString(copy);
    }

    private static void say(Object... fields) {
        System.out.println(Arrays.stream(fields).map(String::valueOf).collect(Collectors.joining("\t")));
    }
}
