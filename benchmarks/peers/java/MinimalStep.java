import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** The minimal step on Kafka Streams' Processor API; the twin of step.py. */
public final class MinimalStep implements Processor<byte[], byte[], byte[], byte[]> {
    private static final byte[] NOT_OWNER = "not_owner".getBytes(StandardCharsets.UTF_8);
    private static final byte[] NOT_READ = "undecodable".getBytes(StandardCharsets.UTF_8);
    private static final String STORE = "entities";
    private static final int ID_BYTES = 16;
    private static final int TEXT_ID = 36;
    private static final AtomicBoolean WAITING = new AtomicBoolean(true);

    /** What the harness wrote for this run, made ready for looking things up. */
    private static final class Tables {
        final Map<String, Integer> platforms = new HashMap<>();
        final Map<String, Map<String, Integer>> meanings = new HashMap<>();
        final Map<String, String> places = new HashMap<>();
        final List<String> milestones = new ArrayList<>();
        final List<Map<String, String>> owners = new ArrayList<>();
        final Schema raw;
        final Schema approved;
        final int rawId;
        final byte[] approvedHead;
        final int window;

        Tables(JsonNode spec) {
            milestones.add(null);
            owners.add(null);
            Map<String, Integer> codes = new HashMap<>();
            spec.get("milestones").forEach(name -> {
                codes.put(name.asText(), milestones.size());
                milestones.add(name.asText());
                Map<String, String> byRegion = new HashMap<>();
                spec.get("owners").get(name.asText()).properties()
                    .forEach(owner -> byRegion.put(owner.getKey(), owner.getValue().asText()));
                owners.add(byRegion);
            });
            spec.get("platforms").forEach(name -> platforms.put(name.asText(), platforms.size()));
            spec.get("meanings").properties().forEach(platform -> {
                Map<String, Integer> spoken = new HashMap<>();
                platform.getValue().properties()
                    .forEach(code -> spoken.put(code.getKey(), codes.get(code.getValue().asText())));
                meanings.put(platform.getKey(), spoken);
            });
            spec.get("places").properties()
                .forEach(place -> places.put(place.getKey(), place.getValue().asText()));
            raw = new Schema.Parser().parse(spec.get("raw_schema").toString());
            approved = new Schema.Parser().parse(spec.get("approved_schema").toString());
            rawId = spec.get("raw_id").asInt();
            approvedHead = ByteBuffer.allocate(5).put((byte) 0).putInt(spec.get("approved_id").asInt()).array();
            window = spec.get("window").asInt();
        }
    }

    private static final String[] COPIED = {
        "event_id", "platform", "account", "entity_type", "entity_id", "classifier", "occurred",
        "occurred_precision", "occurred_offset_minutes", "recorded", "sequence", "stop"};

    private final Tables tables;
    private final GenericDatumReader<GenericRecord> reader;
    private final GenericDatumWriter<GenericRecord> writer;
    private final GenericRecord out;
    private final int[] from = new int[COPIED.length];
    private final int[] to = new int[COPIED.length];
    private final int eventId;
    private final int platform;
    private final int status;
    private final int stop;
    private final int location;
    private final int type;
    private final int entity;
    private final int occurred;
    private final int milestone;
    private final int milestoneCode;
    private final int previous;
    private final int region;
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(512);
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> store;
    private GenericRecord reused;
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;

    MinimalStep(Tables tables) {
        this.tables = tables;
        reader = new GenericDatumReader<>(tables.raw);
        writer = new GenericDatumWriter<>(tables.approved);
        out = new GenericData.Record(tables.approved);
        for (int at = 0; at < COPIED.length; at++) {
            from[at] = tables.raw.getField(COPIED[at]).pos();
            to[at] = tables.approved.getField(COPIED[at]).pos();
        }
        eventId = tables.raw.getField("event_id").pos();
        platform = tables.raw.getField("platform").pos();
        status = tables.raw.getField("native_status").pos();
        stop = tables.raw.getField("stop").pos();
        location = tables.raw.getField("stop").schema().getTypes().get(1).getField("location").pos();
        type = tables.raw.getField("entity_type").pos();
        entity = tables.raw.getField("entity_id").pos();
        occurred = tables.raw.getField("occurred").pos();
        milestone = tables.approved.getField("milestone").pos();
        milestoneCode = tables.approved.getField("milestone_code").pos();
        previous = tables.approved.getField("previous").pos();
        region = tables.approved.getField("region").pos();
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
        context = given;
        store = given.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> in) {
        if (WAITING.get() && WAITING.compareAndSet(true, false)) {
            System.out.println("FIRST " + System.currentTimeMillis() / 1000.0);
            System.out.flush();
        }
        GenericRecord event = decode(in.value());
        if (event == null) {
            context.forward(because(in, NOT_READ), "undecodable");
            return;
        }
        String speaker = event.get(platform).toString();
        Integer code = tables.meanings.getOrDefault(speaker, Map.of()).get(event.get(status).toString());
        String where = place((GenericRecord) event.get(stop));
        if (code == null || where == null) {
            context.forward(because(in, NOT_READ), "undecodable");
            return;
        }
        UUID id = UUID.fromString(event.get(eventId).toString());
        int count = tables.platforms.size();
        byte[] state = store.get(in.key());
        if (state != null && seen(state, count, id)) {
            return;
        }
        boolean owned = speaker.equals(tables.owners.get(code).get(where));
        int at = tables.platforms.get(speaker);
        int before = state == null ? 0 : state[at];
        store.put(in.key(), next(state, count, id, at, owned ? code : before));
        if (!owned) {
            context.forward(because(in, NOT_OWNER), "rejected");
            return;
        }
        context.forward(in.withValue(encoded(event, code, before, where)).withHeaders(new RecordHeaders()), "approved");
    }

    private GenericRecord decode(byte[] value) {
        if (value == null || value.length < 5 || value[0] != 0 || ByteBuffer.wrap(value, 1, 4).getInt() != tables.rawId) {
            return null;
        }
        try {
            decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, decoder);
            GenericRecord event = reused = reader.read(reused, decoder);
            boolean whole = decoder.isEnd() && filled(event.get(type)) && filled(event.get(entity))
                && (Long) event.get(occurred) > 0 && ((CharSequence) event.get(eventId)).length() == TEXT_ID;
            return whole ? event : null;
        } catch (IOException | RuntimeException unreadable) {
            reused = null;
            return null;
        }
    }

    private static boolean filled(Object text) {
        return text != null && ((CharSequence) text).length() > 0;
    }

    /** The region of a stop, "" where no place is given, null where the place is not known. */
    private String place(GenericRecord given) {
        Object name = given == null ? null : given.get(location);
        return filled(name) ? tables.places.get(name.toString()) : "";
    }

    private static boolean seen(byte[] state, int from, UUID id) {
        ByteBuffer ids = ByteBuffer.wrap(state);
        long high = id.getMostSignificantBits();
        long low = id.getLeastSignificantBits();
        for (int at = from; at < state.length; at += ID_BYTES) {
            if (ids.getLong(at) == high && ids.getLong(at + 8) == low) {
                return true;
            }
        }
        return false;
    }

    private byte[] next(byte[] state, int count, UUID id, int at, int code) {
        int kept = state == null ? 0 : Math.min(state.length - count, ID_BYTES * (tables.window - 1));
        ByteBuffer made = ByteBuffer.allocate(count + kept + ID_BYTES);
        if (state != null) {
            made.put(state, 0, count).put(state, state.length - kept, kept);
        } else {
            made.position(count);
        }
        made.putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits());
        return made.put(at, (byte) code).array();
    }

    private byte[] encoded(GenericRecord event, int code, int before, String where) {
        for (int at = 0; at < from.length; at++) {
            out.put(to[at], event.get(from[at]));
        }
        out.put(milestone, tables.milestones.get(code));
        out.put(milestoneCode, code);
        out.put(previous, tables.milestones.get(before));
        out.put(region, where.isEmpty() ? null : where);
        bytes.reset();
        bytes.writeBytes(tables.approvedHead);
        try {
            encoder = EncoderFactory.get().binaryEncoder(bytes, encoder);
            writer.write(out, encoder);
            encoder.flush();
        } catch (IOException impossible) {
            throw new IllegalStateException(impossible);
        }
        return bytes.toByteArray();
    }

    private static Record<byte[], byte[]> because(Record<byte[], byte[]> in, byte[] reason) {
        return in.withHeaders(new RecordHeaders().add("reason", reason));
    }

    private static Topology topology(JsonNode run) {
        Tables tables = new Tables(run.get("spec"));
        List<String> inputs = new ArrayList<>();
        run.get("inputs").forEach(name -> inputs.add(name.asText()));
        KeyValueBytesStoreSupplier kept = run.get("options").get("store").asText().equals("memory")
            ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE);
        ByteArrayDeserializer reading = new ByteArrayDeserializer();
        ByteArraySerializer writing = new ByteArraySerializer();
        Topology made = new Topology();
        made.addSource("raw", reading, reading, inputs.toArray(new String[0]));
        made.addProcessor("step", () -> new MinimalStep(tables), "raw");
        made.addStateStore(Stores.keyValueStoreBuilder(kept, Serdes.ByteArray(), Serdes.ByteArray()), "step");
        for (String name : List.of("approved", "rejected", "undecodable")) {
            made.addSink(name, run.get(name).asText(), writing, writing, "step");
        }
        return made;
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode run = new ObjectMapper().readTree(new File(System.getenv("BENCH_RUN")));
        Properties set = new Properties();
        set.put(StreamsConfig.APPLICATION_ID_CONFIG, run.get("name").asText());
        set.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, run.get("bootstrap").asText());
        set.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        set.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, run.get("options").get("threads").asInt());
        set.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, run.get("options").get("commit_ms").asInt());
        set.put(StreamsConfig.STATE_DIR_CONFIG, run.get("state_dir").asText());
        set.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        set.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        CountDownLatch done = new CountDownLatch(1);
        KafkaStreams streams = new KafkaStreams(topology(run), set);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            done.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            done.countDown();
        }));
        streams.start();
        done.await();
    }
}
