-- score_record is udfs.flink.functions.ScoreFunction

CREATE TABLE source (
  _value BYTES,
  _key BYTES,
  _partition INT METADATA FROM 'partition' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL,
  _timestamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  event_time AS CASE WHEN TO_TIMESTAMP_LTZ(GREATEST(LEAST(GREATEST(LEAST(TRY_CAST(CAST(_headers['paid-at'] AS STRING) AS BIGINT), 253402300799), 0) * 1000, 253402300799999), 0), 3) <= LEAST(_timestamp, CURRENT_TIMESTAMP) + INTERVAL '0 00:30:00.000' DAY(3) TO SECOND(3) THEN TO_TIMESTAMP_LTZ(GREATEST(LEAST(GREATEST(LEAST(TRY_CAST(CAST(_headers['paid-at'] AS STRING) AS BIGINT), 253402300799), 0) * 1000, 253402300799999), 0), 3) ELSE TO_TIMESTAMP_LTZ(0, 3) END,
  WATERMARK FOR event_time AS event_time - INTERVAL '0 00:00:00.001' DAY(3) TO SECOND(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'payments',
  'scan.startup.mode' = 'latest-offset',
  'scan.topic-partition-discovery.interval' = '10000 ms',
  'scan.watermark.idle-timeout' = '30000 ms',
  'scan.watermark.emit.strategy' = 'on-event',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'properties.group.id' = 'score-payments',
  'properties.auto.offset.reset' = 'earliest',
  'properties.isolation.level' = 'read_committed',
  'properties.max.partition.fetch.bytes' = '2097176',
  'properties.bootstrap.servers' = 'kafka:9092',
  'properties.security.protocol' = 'SASL_PLAINTEXT',
  'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.jaas.config' = '***'
);

CREATE TABLE predictions (
  _key BYTES,
  _value BYTES,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers'
) WITH (
  'connector' = 'kafka',
  'topic' = 'scores',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'at-least-once',
  'properties.linger.ms' = '2',
  'properties.batch.size' = '16384',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.bootstrap.servers' = 'kafka:9092',
  'properties.security.protocol' = 'SASL_PLAINTEXT',
  'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.jaas.config' = '***'
);

CREATE TABLE dead_letters (
  _key BYTES,
  _value BYTES,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers'
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-payments.dead-letters',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'at-least-once',
  'properties.linger.ms' = '2',
  'properties.batch.size' = '16384',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.bootstrap.servers' = 'kafka:9092',
  'properties.security.protocol' = 'SASL_PLAINTEXT',
  'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.jaas.config' = '***'
);

CREATE TABLE late (
  _key BYTES,
  _value BYTES,
  _headers MAP<STRING, BYTES> METADATA FROM 'headers'
) WITH (
  'connector' = 'kafka',
  'topic' = 'score-payments.late',
  'value.format' = 'raw',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'at-least-once',
  'properties.linger.ms' = '2',
  'properties.batch.size' = '16384',
  'properties.compression.type' = 'lz4',
  'properties.max.request.size' = '2097176',
  'properties.bootstrap.servers' = 'kafka:9092',
  'properties.security.protocol' = 'SASL_PLAINTEXT',
  'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.jaas.config' = '***'
);

CREATE TEMPORARY VIEW records AS
SELECT _key, _value, _partition, _offset, _timestamp, event_time, CASE WHEN CARDINALITY(_headers) > 0 THEN _headers END AS _headers, (CURRENT_WATERMARK(event_time) IS NOT NULL AND event_time <= CURRENT_WATERMARK(event_time) AND event_time > TO_TIMESTAMP_LTZ(0, 3) AND _headers['tailrace.replay_attempt'] IS NULL) AS _late FROM source;

CREATE TEMPORARY VIEW scored AS
SELECT _key, _value, _partition, _offset, _timestamp, _headers, score_record(_value, CAST(event_time AS TIMESTAMP(3)), _late, _partition, _offset, CAST(_timestamp AS TIMESTAMP(3))) AS _result
FROM records;

INSERT INTO predictions SELECT CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_key, 'ISO-8859-1')), 0) <= 131072 THEN _key END, _value, MAP['traceparent', CASE WHEN COALESCE(CHAR_LENGTH(DECODE(_headers['traceparent'], 'ISO-8859-1')), 0) <= 1024 THEN _headers['traceparent'] END]
FROM (SELECT _key AS _key, r._result._prediction AS _value, _headers FROM scored AS r WHERE r._result._kind = 0);

INSERT INTO dead_letters SELECT CAST(NULL AS BYTES), CAST(NULL AS BYTES), MAP['tailrace.job', CAST(COALESCE('score-payments', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('payments', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES), 'tailrace.stage', CAST(COALESCE(JSON_VALUE(_problem, '$.stage'), '') AS BYTES), 'tailrace.reason', CAST(COALESCE(JSON_VALUE(_problem, '$.reason'), '') AS BYTES), 'tailrace.message', CAST(COALESCE(JSON_VALUE(_problem, '$.message'), '') AS BYTES), 'tailrace.model', CAST(COALESCE(JSON_VALUE(_problem, '$.model'), '') AS BYTES)]
FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers, r._result._problem AS _problem FROM scored AS r WHERE r._result._kind = 1);

INSERT INTO late SELECT CAST(NULL AS BYTES), CAST(NULL AS BYTES), MAP['tailrace.job', CAST(COALESCE('score-payments', '') AS BYTES), 'tailrace.topic', CAST(COALESCE('payments', '') AS BYTES), 'tailrace.partition', CAST(COALESCE(CAST(_partition AS STRING), '') AS BYTES), 'tailrace.offset', CAST(COALESCE(CAST(_offset AS STRING), '') AS BYTES), 'tailrace.timestamp', CAST(COALESCE(CAST(_timestamp AS STRING), '') AS BYTES), 'tailrace.at', CAST(COALESCE(CAST(CURRENT_TIMESTAMP AS STRING), '') AS BYTES)]
FROM (SELECT _key, _value, _partition, _offset, _timestamp, _headers FROM scored AS r WHERE r._result._kind = 2);
