-- pack_records is udfs.flink.functions.PackFunction
-- outcomes is made of blobs by windows by city
-- outcomes is made of blobs by windows by city, driver

CREATE TABLE source (
  _value BYTES,
  _key BYTES,
  _partition INT METADATA FROM 'partition' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL,
  _timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN CAST(TRY_CAST(REPLACE(REGEXP_REPLACE(JSON_VALUE(CAST(_value AS STRING), '$.left_at'), 'Z$', ''), 'T', ' ') AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3)) <= LEAST(_timestamp, CURRENT_TIMESTAMP) + INTERVAL '0 01:00:00.000' DAY(3) TO SECOND(3) THEN CAST(TRY_CAST(REPLACE(REGEXP_REPLACE(JSON_VALUE(CAST(_value AS STRING), '$.left_at'), 'Z$', ''), 'T', ' ') AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3)) ELSE TO_TIMESTAMP_LTZ(0, 3) END,
  WATERMARK FOR event_time AS event_time - INTERVAL '0 00:05:00.001' DAY(3) TO SECOND(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'trips',
  'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '10000 ms',
  'scan.watermark.idle-timeout' = '30000 ms',
  'scan.watermark.emit.strategy' = 'on-event',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'properties.group.id' = 'score-trips',
  'properties.auto.offset.reset' = 'earliest',
  'properties.isolation.level' = 'read_committed',
  'properties.max.partition.fetch.bytes' = '2097176',
  'properties.bootstrap.servers' = 'localhost:9092'
);

CREATE TABLE predictions (
  _key BYTES,
  _value BYTES,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers'
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-trips.predictions',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-trips-predictions',
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
  'topic' = 'score-trips.dead-letters',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-trips-dead_letters',
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
  'topic' = 'score-trips.late',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'score-trips-late',
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
SELECT _key, _value, _partition, _offset, _timestamp, _headers, r._result._kind AS _kind, r._result._problem AS _problem FROM checked AS r WHERE r._result._kind <> 0;

CREATE TEMPORARY VIEW blobs AS
SELECT b._shard, b._rows FROM (SELECT r._result._shards AS _shards FROM checked AS r WHERE r._result._shards IS NOT NULL) AS p CROSS JOIN UNNEST(p._shards) AS b(_shard, _rows);

INSERT INTO predictions SELECT CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) <= 131072 THEN _key END, _value, MAP['traceparent', CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_headers['traceparent'], 'ISO-8859-1')), 0) <= 1024 THEN _headers['traceparent'] END, 'tracestate', CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_headers['tracestate'], 'ISO-8859-1')), 0) <= 1024 THEN _headers['tracestate'] END]
FROM (SELECT o._keys[v.n] AS _key, v._value, MAP['traceparent', o._passed[(v.n - 1) * 2 + 1], 'tracestate', o._passed[(v.n - 1) * 2 + 2]] AS _headers FROM outcomes AS o CROSS JOIN UNNEST(o._values) WITH ORDINALITY AS v(_value, n) WHERE o._kind = 0);

INSERT INTO dead_letters SELECT CASE WHEN _size <= 2031640 THEN _key END, CASE WHEN _size <= 2031640 THEN _value END, CASE WHEN _size <= 2031640 THEN MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), MAP['tailrace.job', CAST(COALESCE('score-trips', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('trips', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.stage', CAST(COALESCE(JSON_VALUE(_problem, '$.stage'), '') AS BYTES), 'tailrace.reason', CAST(COALESCE(JSON_VALUE(_problem, '$.reason'), '') AS BYTES), 'tailrace.message', CAST(COALESCE(JSON_VALUE(_problem, '$.message'), '') AS BYTES), 'tailrace.model', CAST(COALESCE(JSON_VALUE(_problem, '$.model'), '') AS BYTES)]) ELSE MAP['tailrace.job', CAST(COALESCE('score-trips', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('trips', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.stage', CAST(COALESCE(JSON_VALUE(_problem, '$.stage'), '') AS BYTES), 'tailrace.reason', CAST(COALESCE(JSON_VALUE(_problem, '$.reason'), '') AS BYTES), 'tailrace.message', CAST(COALESCE(JSON_VALUE(_problem, '$.message'), '') AS BYTES), 'tailrace.model', CAST(COALESCE(JSON_VALUE(_problem, '$.model'), '') AS BYTES), 'tailrace.left_out', CAST(COALESCE(CAST(_size AS STRING), '') AS BYTES)] END
FROM (SELECT *, COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) + COALESCE(CHAR_LENGTH(DECODE(_value, 'ISO-8859-1')), 0) + 4 * COALESCE(CHAR_LENGTH(CAST(_headers AS STRING)), 0) AS _size FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers, _problem FROM rejected WHERE _kind = 1 UNION ALL SELECT _key, _value, _partition, _offset, TO_TIMESTAMP_LTZ(_timestamp, 3) AS _timestamp, _headers, _problem FROM outcomes WHERE _kind = 1));

INSERT INTO late SELECT CASE WHEN _size <= 2031640 THEN _key END, CASE WHEN _size <= 2031640 THEN _value END, CASE WHEN _size <= 2031640 THEN MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), MAP['tailrace.job', CAST(COALESCE('score-trips', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('trips', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES)]) ELSE MAP['tailrace.job', CAST(COALESCE('score-trips', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('trips', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.left_out', CAST(COALESCE(CAST(_size AS STRING), '') AS BYTES)] END
FROM (SELECT *, COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) + COALESCE(CHAR_LENGTH(DECODE(_value, 'ISO-8859-1')), 0) + 4 * COALESCE(CHAR_LENGTH(CAST(_headers AS STRING)), 0) AS _size FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers FROM rejected WHERE _kind = 2 UNION ALL SELECT _key, _value, _partition, _offset, TO_TIMESTAMP_LTZ(_timestamp, 3) AS _timestamp, _headers FROM outcomes WHERE _kind = 2));
