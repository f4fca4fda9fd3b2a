import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;

/** Reads a coordinator's record a line, key and value in hex, by Kafka's own code, and writes it again by the same. */
public final class EchoGroupRecords {
    public static void main(String[] arguments) throws Exception {
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        HexFormat hex = HexFormat.of();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split(" ");
            ByteBuffer value = fields.length < 2 ? null : ByteBuffer.wrap(hex.parseHex(fields[1]));
            CoordinatorRecord record = serde.deserialize(ByteBuffer.wrap(hex.parseHex(fields[0])), value);
            byte[] written = serde.serializeValue(record);
            System.out.println(hex.formatHex(serde.serializeKey(record)) + (written == null ? "" : " " + hex.formatHex(written))
                + "\t" + record.key() + (record.value() == null ? "" : " " + record.value().message()));
        }
    }
}
