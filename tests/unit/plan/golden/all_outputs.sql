-- pack_records is udfs.flink.functions.PackFunction
-- read_label is udfs.flink.functions.LabelFunction
-- count_labels is udfs.flink.functions.LabelledFunction
-- outcomes is made of blobs by windows by shop

CREATE TABLE source (
  _value BYTES,
  _key BYTES,
  _partition INT METADATA FROM 'partition' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL,
  _timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN TO_TIMESTAMP_LTZ(GREATEST(LEAST(TRY_CAST(JSON_VALUE(CAST(_value AS STRING), '$.placed_at') AS BIGINT), 253402300799999), 0), 3) <= LEAST(_timestamp, CURRENT_TIMESTAMP) + INTERVAL '0 01:00:00.000' DAY(3) TO SECOND(3) THEN TO_TIMESTAMP_LTZ(GREATEST(LEAST(TRY_CAST(JSON_VALUE(CAST(_value AS STRING), '$.placed_at') AS BIGINT), 253402300799999), 0), 3) ELSE TO_TIMESTAMP_LTZ(0, 3) END,
  WATERMARK FOR event_time AS event_time - INTERVAL '0 00:01:00.001' DAY(3) TO SECOND(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'orders',
  'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '10000 ms',
  'scan.watermark.idle-timeout' = '30000 ms',
  'scan.watermark.emit.strategy' = 'on-event',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'properties.group.id' = 'score-orders',
  'properties.auto.offset.reset' = 'earliest',
  'properties.isolation.level' = 'read_committed',
  'properties.max.partition.fetch.bytes' = '2097176',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE labels (
  _value BYTES,
  _key BYTES,
  _partition INT METADATA FROM 'partition' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL,
  _timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN _timestamp <= CURRENT_TIMESTAMP + INTERVAL '0 01:00:00.000' DAY(3) TO SECOND(3) THEN _timestamp ELSE TO_TIMESTAMP_LTZ(0, 3) END,
  WATERMARK FOR event_time AS event_time - INTERVAL '0 00:00:05.001' DAY(3) TO SECOND(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'returns',
  'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '10000 ms',
  'scan.watermark.idle-timeout' = '30000 ms',
  'scan.watermark.emit.strategy' = 'on-event',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'properties.group.id' = 'score-orders',
  'properties.auto.offset.reset' = 'earliest',
  'properties.isolation.level' = 'read_committed',
  'properties.max.partition.fetch.bytes' = '2097176',
  'properties.client.id.prefix' = 'score-orders-labels',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE predictions (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.predictions',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-predictions',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE dead_letters (
  _key BYTES,
  _value BYTES,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers'
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.dead-letters',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-dead_letters',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE late (
  _key BYTES,
  _value BYTES,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers'
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.late',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-late',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE shadows (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.shadows',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-shadows',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE accounting (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.accounts',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-accounting',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE drift (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.drift',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-drift',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE alerts (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.alerts',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-alerts',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE comparisons (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.comparisons',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-comparisons',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE quality (
  _key BYTES,
  _value BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-orders.quality',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-orders-quality',
  'sink.transaction-naming-strategy' = 'POOLING',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '524288',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.transaction.timeout.ms' = '900000',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TEMPORARY VIEW records AS
SELECT _key, _value, _partition, _offset, _timestamp, event_time, CASE WHEN CARDINALITY(_headers) > 0 THEN _headers END AS _headers, (CURRENT_WATERMARK(event_time) IS NOT NULL AND event_time <= CURRENT_WATERMARK(event_time) AND event_time > TO_TIMESTAMP_LTZ(0, 3)) AS _late FROM source;

CREATE TEMPORARY VIEW checked AS
SELECT _key, _value, _partition, _offset, _timestamp, _headers, pack_records(_value, CAST(event_time AS TIMESTAMP(3)), _late, _key, MAP_KEYS(_headers), MAP_VALUES(_headers), _partition, _offset, CAST(_timestamp AS TIMESTAMP(3))) AS _result
FROM records;

CREATE TEMPORARY VIEW rejected AS
SELECT _key, _value, _partition, _offset, _timestamp, _headers, r._result._kind AS _kind, r._result._problem AS _problem, r._result._profile AS _profile, r._result._account AS _account FROM checked AS r WHERE r._result._kind <> 0 OR r._result._profile IS NOT NULL OR r._result._account IS NOT NULL;

CREATE TEMPORARY VIEW blobs AS
SELECT b._shard, b._rows FROM (SELECT r._result._shards AS _shards FROM checked AS r WHERE r._result._shards IS NOT NULL) AS p CROSS JOIN UNNEST(p._shards) AS b(_shard, _rows);

CREATE TEMPORARY VIEW label_records AS
SELECT _key, _value, _partition, _offset, _timestamp, event_time, CASE WHEN CARDINALITY(_headers) > 0 THEN _headers END AS _headers, (CURRENT_WATERMARK(event_time) IS NOT NULL AND event_time <= CURRENT_WATERMARK(event_time) AND event_time > TO_TIMESTAMP_LTZ(0, 3)) AS _late FROM labels;

CREATE TEMPORARY VIEW labels_read AS
SELECT _partition, _offset, event_time, read_label(_value, CAST(event_time AS TIMESTAMP(3)), _late) AS _result
FROM label_records;

CREATE TEMPORARY VIEW labels_used AS
SELECT r._result._label_key AS _label_key, r._result._label AS _label, event_time, CONCAT(CAST(_partition AS STRING), ':', CAST(_offset AS STRING)) AS _place
FROM labels_read AS r WHERE r._result._label IS NOT NULL;

CREATE TEMPORARY VIEW labels_placed AS
SELECT _label_key, _label, event_time, _place, FIRST_VALUE(_place) OVER w AS _first
FROM labels_used WINDOW w AS (PARTITION BY _label_key ORDER BY event_time RANGE BETWEEN INTERVAL '1 00:00:00.000' DAY(3) TO SECOND(3) PRECEDING AND CURRENT ROW);

CREATE TEMPORARY VIEW told AS
SELECT _label_key, _value AS _told, event_time AS _told_at FROM outcomes WHERE _kind = 6;

CREATE TEMPORARY VIEW labelled AS
SELECT count_labels(t._told, l._label, l._first = l._place, CAST(l.event_time AS TIMESTAMP(3)), CAST(t._told_at AS TIMESTAMP(3))) AS _result
FROM told AS t JOIN labels_placed AS l ON t._label_key = l._label_key AND l.event_time BETWEEN t._told_at AND t._told_at + INTERVAL '1 00:00:00.000' DAY(3) TO SECOND(3);

INSERT INTO predictions SELECT CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) <= 131072 THEN _key END, _value
FROM (SELECT o._keys[v.n] AS _key, v._value FROM outcomes AS o CROSS JOIN UNNEST(o._values) WITH ORDINALITY AS v(_value, n) WHERE o._kind = 0);

INSERT INTO dead_letters SELECT CASE WHEN _size <= 2031640 THEN _key END, CASE WHEN _size <= 2031640 THEN _value END, CASE WHEN _size <= 2031640 THEN MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), MAP['tailrace.job', CAST(COALESCE('score-orders', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('orders', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.stage', CAST(COALESCE(JSON_VALUE(_problem, '$.stage'), '') AS BYTES), 'tailrace.reason', CAST(COALESCE(JSON_VALUE(_problem, '$.reason'), '') AS BYTES), 'tailrace.message', CAST(COALESCE(JSON_VALUE(_problem, '$.message'), '') AS BYTES), 'tailrace.model', CAST(COALESCE(JSON_VALUE(_problem, '$.model'), '') AS BYTES)]) ELSE MAP['tailrace.job', CAST(COALESCE('score-orders', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('orders', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.stage', CAST(COALESCE(JSON_VALUE(_problem, '$.stage'), '') AS BYTES), 'tailrace.reason', CAST(COALESCE(JSON_VALUE(_problem, '$.reason'), '') AS BYTES), 'tailrace.message', CAST(COALESCE(JSON_VALUE(_problem, '$.message'), '') AS BYTES), 'tailrace.model', CAST(COALESCE(JSON_VALUE(_problem, '$.model'), '') AS BYTES), 'tailrace.left_out', CAST(COALESCE(CAST(_size AS STRING), '') AS BYTES)] END
FROM (SELECT *, COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) + COALESCE(CHAR_LENGTH(DECODE(_value, 'ISO-8859-1')), 0) + 4 * COALESCE(CHAR_LENGTH(CAST(_headers AS STRING)), 0) AS _size FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers, _problem FROM rejected WHERE _kind = 1 UNION ALL SELECT _key, _value, _partition, _offset, TO_TIMESTAMP_LTZ(_timestamp, 3) AS _timestamp, _headers, _problem FROM outcomes WHERE _kind = 1));

INSERT INTO late SELECT CASE WHEN _size <= 2031640 THEN _key END, CASE WHEN _size <= 2031640 THEN _value END, CASE WHEN _size <= 2031640 THEN MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), MAP['tailrace.job', CAST(COALESCE('score-orders', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('orders', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES)]) ELSE MAP['tailrace.job', CAST(COALESCE('score-orders', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('orders', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.left_out', CAST(COALESCE(CAST(_size AS STRING), '') AS BYTES)] END
FROM (SELECT *, COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) + COALESCE(CHAR_LENGTH(DECODE(_value, 'ISO-8859-1')), 0) + 4 * COALESCE(CHAR_LENGTH(CAST(_headers AS STRING)), 0) AS _size FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers FROM rejected WHERE _kind = 2 UNION ALL SELECT _key, _value, _partition, _offset, TO_TIMESTAMP_LTZ(_timestamp, 3) AS _timestamp, _headers FROM outcomes WHERE _kind = 2));

INSERT INTO shadows SELECT CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) <= 131072 THEN _key END, _value
FROM (SELECT o._keys[v.n] AS _key, v._value FROM outcomes AS o CROSS JOIN UNNEST(o._values) WITH ORDINALITY AS v(_value, n) WHERE o._kind = 3);

INSERT INTO accounting SELECT CAST(NULL AS BYTES), _account FROM rejected WHERE _account IS NOT NULL;
