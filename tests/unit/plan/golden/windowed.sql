-- check_record is udfs.flink.functions.ExtractFunction
-- score_record is udfs.flink.functions.ScoreFunction

CREATE TABLE source (
  _value BYTES,
  _key BYTES,
  _partition INT METADATA FROM 'partition' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL,
  _timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN CAST(TRY_CAST(REPLACE(REGEXP_REPLACE(JSON_VALUE(CAST(_value AS STRING), '$.left_at'), 'Z$', ''), 'T', ' ') AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3)) <= _timestamp + INTERVAL '0 01:00:00.000' DAY(3) TO SECOND(3) THEN CAST(TRY_CAST(REPLACE(REGEXP_REPLACE(JSON_VALUE(CAST(_value AS STRING), '$.left_at'), 'Z$', ''), 'T', ' ') AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3)) ELSE TO_TIMESTAMP_LTZ(0, 3) END,
  WATERMARK FOR event_time AS event_time - INTERVAL '0 00:05:00.001' DAY(3) TO SECOND(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'trips',
  'scan.startup.mode' = 'earliest-offset',
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
  _value BYTES
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
SELECT _key, _value, _partition, _offset, _timestamp, _headers, event_time, check_record(_value, CAST(event_time AS TIMESTAMP(3)), _late) AS _result
FROM records;

CREATE TEMPORARY VIEW valid AS
SELECT _key, _value, _partition, _offset, _timestamp, _headers, event_time, r._result.`city` AS `city`, r._result.`minutes` AS `minutes`, r._result.`driver` AS `driver`
FROM checked AS r WHERE r._result._kind = 0;

CREATE TEMPORARY VIEW window_city_1h AS
SELECT *, COUNT(*) OVER w AS `trips`, AVG(CAST(`minutes` AS DOUBLE)) OVER w AS `mean_minutes`, COUNT(DISTINCT `driver`) OVER w AS `drivers` FROM valid
WINDOW w AS (PARTITION BY `city` ORDER BY event_time RANGE BETWEEN INTERVAL '0 01:00:00.000' DAY(3) TO SECOND(3) PRECEDING AND CURRENT ROW);

CREATE TEMPORARY VIEW window_driver_recent AS
SELECT *, MAX(`minutes`) OVER w AS `longest` FROM window_city_1h
WINDOW w AS (PARTITION BY `city`, `driver` ORDER BY event_time ROWS BETWEEN 9 PRECEDING AND CURRENT ROW);

CREATE TEMPORARY VIEW window_driver_recent_2 AS
SELECT *, LAG(`minutes`, 2) OVER w AS `before` FROM window_driver_recent
WINDOW w AS (PARTITION BY `city`, `driver` ORDER BY event_time );

CREATE TEMPORARY VIEW scored AS
SELECT _key, _value, _partition, _offset, _timestamp, _headers, score_record(_value, CAST(event_time AS TIMESTAMP(3)), FALSE, _partition, _offset, CAST(_timestamp AS TIMESTAMP(3)), `trips`, `mean_minutes`, `drivers`, `longest`, `before`) AS _result
FROM window_driver_recent_2;

INSERT INTO predictions SELECT _key, r._result._prediction FROM scored AS r WHERE r._result._kind = 0;

INSERT INTO dead_letters SELECT _key, _value, MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), MAP['tailrace.job', CAST(COALESCE('score-trips', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('trips', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.stage', CAST(COALESCE(JSON_VALUE(_problem, '$.stage'), '') AS BYTES), 'tailrace.reason', CAST(COALESCE(JSON_VALUE(_problem, '$.reason'), '') AS BYTES), 'tailrace.message', CAST(COALESCE(JSON_VALUE(_problem, '$.message'), '') AS BYTES), 'tailrace.model', CAST(COALESCE(JSON_VALUE(_problem, '$.model'), '') AS BYTES)])
FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers, r._result._problem AS _problem FROM checked AS r WHERE r._result._kind = 1 UNION ALL SELECT _key, _value, _partition, _offset, _timestamp, _headers, r._result._problem AS _problem FROM scored AS r WHERE r._result._kind = 1);

INSERT INTO late SELECT _key, _value, MAP_UNION(COALESCE(_headers, MAP['tailrace.job', X'']), MAP['tailrace.job', CAST(COALESCE('score-trips', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('trips', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES)])
FROM checked AS r WHERE r._result._kind = 2;
