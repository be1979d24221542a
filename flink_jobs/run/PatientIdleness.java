package tailrace;

import java.lang.management.ManagementFactory;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.WeakHashMap;
import javax.management.JMException;
import javax.management.ObjectName;
import org.apache.flink.api.common.eventtime.TimestampAssigner;
import org.apache.flink.api.common.eventtime.TimestampAssignerSupplier;
import org.apache.flink.api.common.eventtime.WatermarkAlignmentParams;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.runtime.metrics.TimerGauge;
import org.apache.flink.runtime.metrics.groups.InternalOperatorMetricGroup;
import org.apache.flink.runtime.metrics.groups.ProxyMetricGroup;
import org.apache.flink.util.clock.RelativeClock;

/**
 * Takes a partition for idle by what is known, not by the wall clock alone.
 *
 * <p>Flink's own idleness measures how long a partition gave no record. On a slow machine that is also the time in
 * which its records wait behind those of others. Here only time counts in which the source waited for records and
 * brokers answered that there are none. Compiled by Janino: no lambdas, no inferred type arguments.
 */
public final class PatientIdleness implements WatermarkStrategy {
    /** Others of the reader may be so far ahead: more than a consumer holds of them while a partition waits. */
    public static final long OUTRUN = 1000000L;

    /** More than lies between two answers of a broker; what is longer is a process that stood still. */
    private static final long STEP_MS = 1000L;

    private static final Map READERS = Collections.synchronizedMap(new WeakHashMap());

    private final WatermarkStrategy base;
    private final long idleMs;
    private final String clientIds;

    public PatientIdleness(WatermarkStrategy base, String idleMs, String clientIds) {
        this.base = base;
        this.idleMs = Long.parseLong(idleMs);
        this.clientIds = clientIds;
    }

    public WatermarkGenerator createWatermarkGenerator(WatermarkGeneratorSupplier.Context context) {
        Reader reader = readerOf(context.getMetricGroup(), clientIds);
        RelativeClock clock = context.getInputActivityClock();
        return new Generator(base.createWatermarkGenerator(context), reader, clock, idleMs);
    }

    public TimestampAssigner createTimestampAssigner(TimestampAssignerSupplier.Context context) {
        return base.createTimestampAssigner(context);
    }

    public WatermarkAlignmentParams getAlignmentParameters() {
        return base.getAlignmentParameters();
    }

    private static Reader readerOf(MetricGroup group, String clientIds) {
        synchronized (READERS) {
            Reader reader = (Reader) READERS.get(group);
            if (reader == null) {
                reader = new Reader(waitingTime(group), clientIds + "-" + group.getAllVariables().get("<subtask_index>"));
                READERS.put(group, reader);
            }
            return reader;
        }
    }

    /** How long the task has waited for input, in all. */
    private static TimerGauge waitingTime(MetricGroup group) {
        MetricGroup inner = group;
        while (inner instanceof ProxyMetricGroup) {
            inner = (MetricGroup) field(ProxyMetricGroup.class, "parentMetricGroup", inner);
        }
        return ((InternalOperatorMetricGroup) inner).getTaskIOMetricGroup().getIdleTimeMsPerSecond();
    }

    private static Object field(Class owner, String name, Object of) {
        try {
            Field field = owner.getDeclaredField(name);
            field.setAccessible(true);
            return field.get(of);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    /** What the partitions of one source instance share; only its task's thread calls. */
    static final class Reader {
        final List generators = new ArrayList();
        private final TimerGauge waiting;
        private final String client;
        private ObjectName fetches;
        private long waitedMs;
        private long unansweredMs;
        private long quietMs;
        private double answers = Double.NaN;

        Reader(TimerGauge waiting, String client) {
            this.waiting = waiting;
            this.client = client;
            this.waitedMs = waiting.getAccumulatedCount();
        }

        /** A clock of the time in which there was nothing to read, by the word of brokers. */
        long quietMs() {
            long waited = waiting.getAccumulatedCount();
            if (waited > waitedMs) {
                unansweredMs = Math.min(unansweredMs + Math.min(waited - waitedMs, STEP_MS), STEP_MS);
                waitedMs = waited;
                double known = answers;
                answers = answers();
                if (answers > known || Double.isNaN(answers) && (records() > 0 || hasNoPartition())) {
                    quietMs += unansweredMs;
                }
                if (answers != known) {
                    unansweredMs = 0;
                }
            }
            return quietMs;
        }

        /** There is the generator of the instance alone: where there are more instances than partitions. */
        private boolean hasNoPartition() {
            return generators.size() == 1;
        }

        private long records() {
            long sum = 0;
            for (int i = 0; i < generators.size(); i++) {
                sum += ((Generator) generators.get(i)).records;
            }
            return sum;
        }

        /** How many fetches brokers have answered; NaN before there is a consumer, or where none publishes it. */
        private double answers() {
            try {
                if (fetches == null) {
                    String id = client.matches("[\\w\\-%. \t]*") ? client : ObjectName.quote(client);
                    fetches = new ObjectName("kafka.consumer:type=consumer-fetch-manager-metrics,client-id=" + id);
                }
                Object total = ManagementFactory.getPlatformMBeanServer().getAttribute(fetches, "fetch-total");
                return ((Number) total).doubleValue();
            } catch (JMException error) {
                return Double.NaN;
            }
        }
    }

    /** The watermarks of one partition. */
    static final class Generator implements WatermarkGenerator {
        private final WatermarkGenerator base;
        private final Reader reader;
        private final RelativeClock clock;
        private final long idleMs;
        private long records;
        private boolean active = true;
        private boolean idle;
        private long quietSince;
        private long activeSince;
        private long[] others = new long[0];

        Generator(WatermarkGenerator base, Reader reader, RelativeClock clock, long idleMs) {
            this.base = base;
            this.reader = reader;
            this.clock = clock;
            this.idleMs = idleMs;
            reader.generators.add(this);
        }

        public void onEvent(Object event, long timestamp, WatermarkOutput output) {
            base.onEvent(event, timestamp, output);
            records++;
            active = true;
            idle = false;
        }

        public void onPeriodicEmit(WatermarkOutput output) {
            long quietMs = reader.quietMs();
            if (active) {
                begin(quietMs);
            }
            if (quietMs - quietSince < idleMs && !outrun() || activeMs() < idleMs) {
                base.onPeriodicEmit(output);
            } else if (!idle) {
                idle = true;
                output.markIdle();
            }
        }

        private void begin(long quietMs) {
            active = false;
            quietSince = quietMs;
            activeSince = clock.relativeTimeNanos();
            others = new long[reader.generators.size()];
            for (int i = 0; i < others.length; i++) {
                others[i] = ((Generator) reader.generators.get(i)).records;
            }
        }

        /** Without the time in which Flink held the partition back. */
        private long activeMs() {
            return (clock.relativeTimeNanos() - activeSince) / 1000000L;
        }

        private boolean outrun() {
            for (int i = 0; i < reader.generators.size(); i++) {
                long before = i < others.length ? others[i] : 0L;
                if (((Generator) reader.generators.get(i)).records - before >= OUTRUN) {
                    return true;
                }
            }
            return false;
        }
    }
}
