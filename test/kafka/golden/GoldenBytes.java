// Writes the golden bytes of this folder: every message that the broker serves, in every version, as Kafka's own classes
// write it, with the values that they read back from those bytes.
//
//   mvn dependency:get -Dartifact=org.apache.kafka:kafka-clients:4.1.0
//   M=~/.m2/repository
//   java -cp "$M/org/apache/kafka/kafka-clients/4.1.0/kafka-clients-4.1.0.jar:$(ls $M/org/slf4j/slf4j-api/*/*.jar | tail -1)" \
//     test/kafka/golden/GoldenBytes.java test/kafka/golden
//
// There are three cases a version. `full`: every field says something that no other field says; arrays of structs have two
// elements, of which the second is null wherever it may be. `sparse`: null where that is allowed, else nothing or -1.
// `unknown tags` (flexible versions only): as full, and every struct has tagged fields that nobody knows; the
// values are those of `full`.
// Values hold every field that some served version has, as Kafka's defaults where this version has none.

import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.utils.AppInfoParser;

public final class GoldenBytes {
    private record Api(int key, String name, int min, int max) {}

    private static final List<Api> APIS = List.of(
        new Api(0, "Produce", 3, 11), new Api(1, "Fetch", 4, 17), new Api(2, "ListOffsets", 1, 9),
        new Api(3, "Metadata", 0, 13), new Api(8, "OffsetCommit", 2, 9), new Api(9, "OffsetFetch", 1, 9),
        new Api(10, "FindCoordinator", 0, 5), new Api(11, "JoinGroup", 0, 9), new Api(12, "Heartbeat", 0, 4),
        new Api(13, "LeaveGroup", 0, 5), new Api(14, "SyncGroup", 0, 5), new Api(15, "DescribeGroups", 0, 5),
        new Api(16, "ListGroups", 0, 5), new Api(17, "SaslHandshake", 0, 1),
        new Api(18, "ApiVersions", 0, 4), new Api(19, "CreateTopics", 2, 7),
        new Api(20, "DeleteTopics", 1, 6), new Api(21, "DeleteRecords", 0, 2), new Api(22, "InitProducerId", 0, 5),
        new Api(23, "OffsetForLeaderEpoch", 2, 4), new Api(29, "DescribeAcls", 1, 3),
        new Api(32, "DescribeConfigs", 1, 4),
        new Api(33, "AlterConfigs", 0, 2), new Api(35, "DescribeLogDirs", 1, 4), new Api(37, "CreatePartitions", 0, 3),
        new Api(42, "DeleteGroups", 0, 2), new Api(43, "ElectLeaders", 0, 2),
        new Api(44, "IncrementalAlterConfigs", 0, 1), new Api(45, "AlterPartitionReassignments", 0, 0),
        new Api(46, "ListPartitionReassignments", 0, 0), new Api(47, "OffsetDelete", 0, 0),
        new Api(60, "DescribeCluster", 0, 2), new Api(61, "DescribeProducers", 0, 0),
        new Api(74, "ListConfigResources", 0, 1), new Api(75, "DescribeTopicPartitions", 0, 0));

    /** The fields of each struct that some served version has. */
    private static final Map<Class<?>, Set<String>> SERVED = new HashMap<>();

    /** Makes every value differ from those before it. */
    private static int counter;

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        for (Api api : APIS) {
            List<String> lines = new ArrayList<>();
            for (String side : List.of("Request", "Response")) lines.addAll(cases(api, side));
            String file = String.format("%02d-%s.json", api.key, kebab(api.name));
            write(folder.resolve(file), api.name, lines);
        }
        List<String> headers = new ArrayList<>();
        headers.addAll(cases(new Api(-1, "RequestHeader", 1, 2), ""));
        write(folder.resolve("headers.json"), "headers", headers);
        Files.writeString(folder.resolve("errors.json"), errors(), StandardCharsets.UTF_8);
    }

    /** All error codes of Kafka, and whether its clients try again. */
    private static String errors() {
        List<String> rows = new ArrayList<>();
        for (Errors error : Errors.values()) {
            boolean isRetriable = error.exception() instanceof RetriableException;
            rows.add(String.format("{\"code\":%d,\"name\":\"%s\",\"isRetriable\":%b}", error.code(), error, isRetriable));
        }
        return "[\n" + String.join(",\n", rows) + "\n]\n";
    }

    private static void write(Path file, String name, List<String> lines) throws IOException {
        String head = String.format("{\"name\":\"%s\",\"kafkaClients\":\"%s\",\"cases\":[\n", name, AppInfoParser.getVersion());
        Files.writeString(file, head + String.join(",\n", lines) + "\n]}\n", StandardCharsets.UTF_8);
    }

    private static List<String> cases(Api api, String side) throws Exception {
        Class<?> type = Class.forName("org.apache.kafka.common.message." + api.name + side + "Data");
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        for (int version = api.min; version <= api.max; version++) noteServed(type, schemas[version]);
        List<String> lines = new ArrayList<>();
        for (int version = api.min; version <= api.max; version++) {
            boolean isFlexible = isFlexible(schemas[version]);
            for (String kind : List.of("full", "sparse", "unknown tags")) {
                if (kind.equals("unknown tags") && !isFlexible) continue;
                counter = 0;
                Message message = (Message) type.getDeclaredConstructor().newInstance();
                if (kind.equals("sparse")) fillSparsely(message, schemas[version]);
                else fill(message, schemas[version], false);
                if (kind.equals("unknown tags")) {
                    addTags(message);
                    message.unknownTaggedFields().add(new RawTaggedField(70_000, new byte[200]));
                }
                lines.add(line(api, side.isEmpty() ? "Request" : side, kind, (short) version, message));
            }
        }
        return lines;
    }

    private static String line(Api api, String side, String kind, short version, Message message) throws Exception {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = message.size(cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(size);
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) throw new IllegalStateException(api + " " + side + ": size is wrong");
        byte[] bytes = buffer.array();
        Message read = (Message) message.getClass().getConstructor(Readable.class, short.class)
            .newInstance(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), version);
        if (!read.equals(message)) throw new IllegalStateException(api + " " + side + " v" + version + ": reads otherwise");
        StringBuilder values = new StringBuilder();
        if (!kind.equals("unknown tags")) {
            values.append("\n \"values\":");
            print(read, values);
            values.append(',');
        }
        int header = api.key < 0 ? -1 : side.equals("Request") ? ApiKeys.forId(api.key).requestHeaderVersion(version)
            : ApiKeys.forId(api.key).responseHeaderVersion(version);
        return String.format(
            "{\"message\":\"%s\",\"version\":%d,\"headerVersion\":%d,\"kind\":\"%s\",%s\n \"bytes\":\"%s\"}",
            side.toLowerCase(Locale.ROOT), version, header, kind, values, HexFormat.of().formatHex(bytes));
    }

    private static boolean isFlexible(Schema schema) {
        BoundField[] fields = schema.fields();
        return fields.length > 0 && fields[fields.length - 1].def.type instanceof TaggedFields;
    }

    /** The fields of a struct in one version, those with a tag last. */
    private static Map<Field, org.apache.kafka.common.protocol.types.Type> fieldsOf(Class<?> type, Schema schema) {
        Map<Field, org.apache.kafka.common.protocol.types.Type> found = new LinkedHashMap<>();
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                tagged.fields().values().forEach(field -> found.put(fieldOf(type, field.name), field.type));
            } else {
                found.put(fieldOf(type, bound.def.name), bound.def.type);
            }
        }
        return found;
    }

    private static Field fieldOf(Class<?> type, String name) {
        String wanted = name.replace("_", "");
        for (Field field : type.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) || !field.getName().equalsIgnoreCase(wanted)) continue;
            field.setAccessible(true);
            return field;
        }
        throw new IllegalStateException(type + " has no " + name);
    }

    private static void noteServed(Class<?> type, Schema schema) throws Exception {
        Set<String> names = SERVED.computeIfAbsent(type, key -> new LinkedHashSet<>());
        for (var entry : fieldsOf(type, schema).entrySet()) {
            Field field = entry.getKey();
            names.add(field.getName());
            Class<?> inner = structOf(field);
            if (inner != null) noteServed(inner, schemaOf(entry.getValue()));
        }
    }

    private static Schema schemaOf(org.apache.kafka.common.protocol.types.Type type) {
        if (type instanceof Schema schema) return schema;
        return (Schema) type.arrayElementType().orElseThrow();
    }

    /** The class of the structs that a field holds, or null. */
    private static Class<?> structOf(Field field) {
        Class<?> type = Collection.class.isAssignableFrom(field.getType()) ? elementOf(field) : field.getType();
        return Message.class.isAssignableFrom(type) ? type : null;
    }

    private static Class<?> elementOf(Field field) {
        Type generic = field.getType() == List.class ? field.getGenericType() : field.getType().getGenericSuperclass();
        return (Class<?>) ((ParameterizedType) generic).getActualTypeArguments()[0];
    }

    private static void fill(Message struct, Schema schema, boolean isNullWherePossible) throws Exception {
        for (var entry : fieldsOf(struct.getClass(), schema).entrySet()) {
            Field field = entry.getKey();
            var type = entry.getValue();
            boolean isNullableStruct = type instanceof Schema && field.get(struct) == null;
            if (isNullWherePossible && (type.isNullable() || isNullableStruct)) field.set(struct, null);
            else field.set(struct, value(field, type, isNullWherePossible));
        }
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Object value(Field field, org.apache.kafka.common.protocol.types.Type type, boolean isSecond) throws Exception {
        if (Collection.class.isAssignableFrom(field.getType())) {
            Class<?> element = elementOf(field);
            Collection all = field.getType() == List.class ? new ArrayList<>()
                : (Collection) field.getType().getDeclaredConstructor().newInstance();
            for (int index = 0; index < 2; index++) {
                if (Message.class.isAssignableFrom(element)) all.add(struct(element, schemaOf(type), index == 1));
                else all.add(scalar(element, field.getName(), isSecond));
            }
            return all;
        }
        if (type instanceof Schema schema) return struct(field.getType(), schema, isSecond);
        return scalar(field.getType(), field.getName(), isSecond);
    }

    private static Message struct(Class<?> type, Schema schema, boolean isSecond) throws Exception {
        Message made = (Message) type.getDeclaredConstructor().newInstance();
        fill(made, schema, isSecond);
        return made;
    }

    private static Object scalar(Class<?> type, String name, boolean isSecond) {
        int number = ++counter;
        int sign = isSecond ? -1 : 1;
        if (type == boolean.class) return !isSecond;
        if (type == byte.class || type == Byte.class) return (byte) (sign * (number % 127 + 1));
        if (type == short.class || type == Short.class) return (short) (sign * (0x0102 + number));
        if (type == int.class || type == Integer.class) return sign * (0x01020304 + number * 0x10001);
        if (type == long.class || type == Long.class) return sign * (0x0001020304050607L + number * 0x100000001L);
        if (type == String.class) return number == 3 ? name + "-" + "long".repeat(32) + number : name + "-\u00e9\u20ac" + number;
        if (type == Uuid.class) return new Uuid(0x0123456789abcdefL + number, 0xfedcba9876543210L - number);
        if (type == byte[].class) return ("bytes of " + name + number).getBytes(StandardCharsets.UTF_8);
        if (type == ByteBuffer.class) return ByteBuffer.wrap(("bytes of " + name + number).getBytes(StandardCharsets.UTF_8));
        if (type.getSimpleName().equals("BaseRecords")) {
            byte[] bytes = new byte[number < 10 ? 130 : 9];
            Arrays.fill(bytes, (byte) number);
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        }
        throw new IllegalStateException("no value for " + type);
    }

    private static void fillSparsely(Message message, Schema schema) throws Exception {
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields) continue;
            Field field = fieldOf(message.getClass(), bound.def.name);
            Class<?> type = field.getType();
            boolean isNullableStruct = bound.def.type instanceof Schema && field.get(message) == null;
            if (bound.def.type.isNullable() || isNullableStruct) field.set(message, null);
            else if (type == byte.class) field.set(message, (byte) -1);
            else if (type == short.class) field.set(message, (short) -1);
            else if (type == int.class) field.set(message, -1);
            else if (type == long.class) field.set(message, -1L);
        }
    }

    private static void addTags(Message struct) throws Exception {
        struct.unknownTaggedFields().add(new RawTaggedField(1_000, new byte[] {1, 2, 3}));
        for (String name : SERVED.get(struct.getClass())) {
            Object value = fieldOf(struct.getClass(), name).get(struct);
            if (value instanceof Message inner && !isTagged(struct.getClass(), name)) addTags(inner);
            if (!(value instanceof Collection<?> all)) continue;
            for (Object each : all) if (each instanceof Message inner) addTags(inner);
        }
    }

    /** A struct that is all defaults is not written as a tagged field; with tags of its own it would be. */
    private static boolean isTagged(Class<?> type, String name) throws Exception {
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        BoundField[] fields = schemas[schemas.length - 1].fields();
        return Arrays.stream(fields).noneMatch(field -> field.def.name.replace("_", "").equalsIgnoreCase(name));
    }

    private static void print(Object value, StringBuilder out) throws Exception {
        if (value == null || value instanceof Boolean || value instanceof Number) out.append(value);
        else if (value instanceof String text) quote(text, out);
        else if (value instanceof Uuid uuid) {
            quote(new UUID(uuid.getMostSignificantBits(), uuid.getLeastSignificantBits()).toString(), out);
        } else if (value instanceof byte[] bytes) printBytes(bytes, out);
        else if (value instanceof ByteBuffer buffer) printBuffer(buffer, out);
        else if (value instanceof MemoryRecords records) printBuffer(records.buffer(), out);
        else if (value instanceof Collection<?> all) {
            out.append('[');
            String separator = "";
            for (Object each : all) {
                out.append(separator);
                print(each, out);
                separator = ",";
            }
            out.append(']');
        } else printStruct((Message) value, out);
    }

    private static void printStruct(Message struct, StringBuilder out) throws Exception {
        out.append('{');
        String separator = "";
        for (String name : SERVED.get(struct.getClass())) {
            out.append(separator);
            quote(name, out);
            out.append(':');
            print(fieldOf(struct.getClass(), name).get(struct), out);
            separator = ",";
        }
        out.append('}');
    }

    private static void printBuffer(ByteBuffer buffer, StringBuilder out) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        printBytes(bytes, out);
    }

    private static void printBytes(byte[] bytes, StringBuilder out) {
        out.append("{\"hex\":\"").append(HexFormat.of().formatHex(bytes)).append("\"}");
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"').append(text.replace("\\", "\\\\").replace("\"", "\\\"")).append('"');
    }

    private static String kebab(String name) {
        return name.replaceAll("(?<!^)([A-Z])", "-$1").toLowerCase(Locale.ROOT);
    }
}
