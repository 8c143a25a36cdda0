-- The event log. Triggers and `publish` write to the outbox in the caller's transaction; a daemon moves what is
-- committed to res_event, where it gets its number: after the commit, so that numbers have no holes to wait for.
CREATE TABLE IF NOT EXISTS res_outbox (
  id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  state   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS res_event (
  seq     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  bytes   INT UNSIGNED NOT NULL,
  state   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
-- One row: which log this is, the last number given, the first still kept. Its lock puts the movers in order.
CREATE TABLE IF NOT EXISTS res_log (
  id        TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  log_id    BIGINT UNSIGNED NOT NULL,
  head_seq  BIGINT UNSIGNED NOT NULL DEFAULT 0,
  first_seq BIGINT UNSIGNED NOT NULL DEFAULT 1
) ENGINE = InnoDB;
INSERT IGNORE INTO res_log (id, log_id) VALUES (1, CONV(LEFT(SHA2(CONCAT(UUID(), RAND(), NOW(6)), 256), 16), 16, 10));

-- Numbers up to p_limit committed events whose outbox id is above p_floor, in one transaction of its own. Called by
-- daemons; p_last is NULL where there was nothing to do. It never waits for rows that other transactions have not
-- committed yet, though they lie between: ids are read without locks (inside an IF the same query would lock). Where
-- they follow each other, a DELETE of the range with its exact LIMIT ends before the next row; else rows are taken one
-- by one by primary key, since a DELETE by a list of ids may scan the table.
DROP PROCEDURE IF EXISTS res_number;
CREATE PROCEDURE res_number(IN p_floor BIGINT UNSIGNED, IN p_limit INT UNSIGNED, OUT p_last BIGINT UNSIGNED)
BEGIN
  DECLARE v_head, v_count, v_first BIGINT UNSIGNED DEFAULT 0;
  DECLARE v_is_run BOOLEAN;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    ROLLBACK;
    RESIGNAL;
  END;
  SELECT COUNT(*), MIN(id), MAX(id) INTO v_count, v_first, p_last
    FROM (SELECT id FROM res_outbox WHERE id > p_floor ORDER BY id LIMIT p_limit) page;
  IF v_count > 0 THEN
    START TRANSACTION;
    -- Holds every other daemon back until the end.
    UPDATE res_log SET head_seq = LAST_INSERT_ID(head_seq + v_count) WHERE id = 1;
    SET v_head = LAST_INSERT_ID() - v_count, v_is_run = v_count = p_last - v_first + 1;
    IF v_is_run THEN
      INSERT INTO res_event (seq, bytes, state, payload, at)
        SELECT v_head + 1 + (id - v_first), LENGTH(payload), state, payload, at
        FROM res_outbox WHERE id BETWEEN v_first AND p_last;
    ELSE
      CREATE TEMPORARY TABLE IF NOT EXISTS res_page
        (n INT UNSIGNED NOT NULL PRIMARY KEY, id BIGINT UNSIGNED NOT NULL) ENGINE = MEMORY;
      DELETE FROM res_page;
      INSERT INTO res_page (n, id)
        SELECT ROW_NUMBER() OVER (ORDER BY id), id
        FROM (SELECT id FROM res_outbox WHERE id BETWEEN v_first AND p_last ORDER BY id LIMIT v_count) page;
      SELECT MAX(id) INTO p_last FROM res_page;
      INSERT INTO res_event (seq, bytes, state, payload, at)
        SELECT v_head + p.n, LENGTH(o.payload), o.state, o.payload, o.at
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
