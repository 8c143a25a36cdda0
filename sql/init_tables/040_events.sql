-- The event log. Triggers and `publish` write to the outbox in the caller's transaction; a daemon moves committed rows to
-- res_event, which gives them their numbers. Numbering after the commit leaves no gaps that a reader would wait for.
CREATE TABLE IF NOT EXISTS res_outbox (
  id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  state   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
-- Stored for numbering, which limits its transactions by size: measuring a large payload means reading all its pages.
ALTER TABLE res_outbox ADD COLUMN bytes INT UNSIGNED AS (LENGTH(payload)) STORED;
CREATE TABLE IF NOT EXISTS res_event (
  seq     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  bytes   INT UNSIGNED NOT NULL,
  state   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
-- Retention counts from here: before it has a number, an event cannot be delivered. NULL in an event that was numbered
-- before this column existed; `at` stands in for it.
ALTER TABLE res_event ADD COLUMN numbered_at TIMESTAMP(6) NULL DEFAULT NULL;
-- One row: the identity of this log, the last number given, the first one still kept. Its lock serialises the movers.
CREATE TABLE IF NOT EXISTS res_log (
  id        TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  log_id    BIGINT UNSIGNED NOT NULL,
  head_seq  BIGINT UNSIGNED NOT NULL DEFAULT 0,
  first_seq BIGINT UNSIGNED NOT NULL DEFAULT 1
) ENGINE = InnoDB;
-- The session that numbered last, and when; see res_number.
ALTER TABLE res_log ADD COLUMN mover VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
ALTER TABLE res_log ADD COLUMN moved_at TIMESTAMP(6) NULL DEFAULT NULL;
-- The server that holds this table and when the table was created there. A dump restores the row into a newer table.
ALTER TABLE res_log ADD COLUMN made_on VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
ALTER TABLE res_log ADD COLUMN made_at BIGINT NULL;
-- The rows of the event log that the server refuses to number (by the outbox id) or to delete (by the sequence number), for
-- operators to see: a daemon decides by what it has in memory.
CREATE TABLE IF NOT EXISTS res_event_quarantine (
  what     VARCHAR(16) CHARACTER SET ascii NOT NULL,
  id       BIGINT UNSIGNED NOT NULL,
  message  VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL,
  since    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  retry_at TIMESTAMP(6) NULL DEFAULT NULL,
  PRIMARY KEY (what, id)
) ENGINE = InnoDB;
INSERT IGNORE INTO res_log (id, log_id) VALUES (1, CONV(LEFT(SHA2(CONCAT(UUID(), RAND(), NOW(6)), 256), 16), 16, 10));

-- Numbers up to p_limit committed events whose outbox id is above p_floor, in one transaction of its own, and stops at
-- 16 MiB because clusters limit the size of a transaction. Called by daemons. p_last is the greatest outbox id that was
-- numbered, or NULL if there was nothing to do.
-- It never waits for uncommitted rows of other transactions, even if they lie between: the ids are read without locks
-- (the same query as the condition of an IF would lock them). If the ids are consecutive, a DELETE of the range with its
-- exact LIMIT ends before the next row; otherwise rows are deleted one by one by primary key, since a DELETE by a list of
-- ids may scan the table.
-- On a cluster a lock holds back only the sessions of its own node, and the commits of two movers conflict. So the session
-- that numbered within the last 0.2 s keeps doing so and the others leave it to that one; a wrong clock only ends this.
DROP PROCEDURE IF EXISTS res_number;
CREATE PROCEDURE res_number(IN p_floor BIGINT UNSIGNED, IN p_limit INT UNSIGNED, OUT p_last BIGINT UNSIGNED)
BEGIN
  DECLARE v_head, v_count, v_first, v_bytes BIGINT UNSIGNED DEFAULT 0;
  DECLARE v_is_run BOOLEAN;
  DECLARE v_mover VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    DEFAULT CONCAT(LEFT(@@hostname, 100), ':', @@port, ':', CONNECTION_ID());
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    ROLLBACK;
    RESIGNAL;
  END;
  SELECT COUNT(*), MIN(id), MAX(id), SUM(bytes) INTO v_count, v_first, p_last, v_bytes
    FROM (SELECT id, bytes FROM res_outbox WHERE id > p_floor ORDER BY id LIMIT p_limit) page
    WHERE NOT EXISTS (SELECT 1 FROM res_log WHERE id = 1 AND mover <> v_mover
                      AND moved_at BETWEEN NOW(6) - INTERVAL 200000 MICROSECOND AND NOW(6));
  IF v_bytes > 16777216 THEN
    SELECT COUNT(*), MIN(id), MAX(id) INTO v_count, v_first, p_last
      FROM (SELECT id, SUM(bytes) OVER (ORDER BY id) - bytes AS before_it
            FROM (SELECT id, COALESCE(bytes, 0) AS bytes FROM res_outbox WHERE id > p_floor ORDER BY id LIMIT p_limit)
                  page) z
      WHERE before_it < 16777216;
  END IF;
  IF v_count > 0 THEN
    START TRANSACTION;
    -- Blocks every other daemon of this node until the end.
    UPDATE res_log SET head_seq = LAST_INSERT_ID(head_seq + v_count), mover = v_mover, moved_at = NOW(6) WHERE id = 1;
    SET v_head = LAST_INSERT_ID() - v_count, v_is_run = v_count = p_last - v_first + 1;
    IF v_is_run THEN
      INSERT INTO res_event (seq, bytes, state, payload, at, numbered_at)
        SELECT v_head + 1 + (id - v_first), bytes, state, payload, at, NOW(6)
        FROM res_outbox WHERE id BETWEEN v_first AND p_last;
    ELSE
      -- Rows committed since the count may lie before v_first. Left out, they would be numbered after later events of
      -- their own transaction.
      CREATE TEMPORARY TABLE IF NOT EXISTS res_page
        (n INT UNSIGNED NOT NULL PRIMARY KEY, id BIGINT UNSIGNED NOT NULL) ENGINE = InnoDB;
      DELETE FROM res_page;
      INSERT INTO res_page (n, id)
        SELECT ROW_NUMBER() OVER (ORDER BY id), id
        FROM (SELECT id FROM res_outbox WHERE id > p_floor AND id <= p_last ORDER BY id LIMIT v_count) page;
      SELECT MAX(id) INTO p_last FROM res_page;
      INSERT INTO res_event (seq, bytes, state, payload, at, numbered_at)
        SELECT v_head + p.n, o.bytes, o.state, o.payload, o.at, NOW(6)
        FROM res_page p STRAIGHT_JOIN res_outbox o FORCE INDEX (PRIMARY) ON o.id = p.id;
    END IF;
    IF ROW_COUNT() <> v_count THEN
      -- Another daemon was faster.
      ROLLBACK;
      SET p_last = NULL;
    ELSE
      IF v_is_run THEN
        DELETE FROM res_outbox WHERE id BETWEEN v_first AND p_last ORDER BY id LIMIT v_count;
      ELSE
        DELETE o FROM res_page p STRAIGHT_JOIN res_outbox o FORCE INDEX (PRIMARY) ON o.id = p.id;
      END IF;
      COMMIT;
    END IF;
  END IF;
END;
