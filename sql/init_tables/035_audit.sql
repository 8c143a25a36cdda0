-- What operators did, by resqctl or over HTTP: one row per action, written in the transaction of its first change. `count` is
-- how many jobs it changed so far; an action in several transactions adds to it in each.
CREATE TABLE IF NOT EXISTS res_audit (
  id     BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at     TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  who    VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  action VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  target VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  reason VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  count  BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE = InnoDB;
-- An action on all jobs that match a filter, as far as it has come: it goes through the jobs in the order of their ids and
-- is at done_to_id. The id is the one in res_audit, which also has the action. The worker is whatever process does it.
CREATE TABLE IF NOT EXISTS res_batch (
  id          BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  res_type    VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  name_prefix VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  up_to_id    BIGINT UNSIGNED NOT NULL,
  done_to_id  BIGINT UNSIGNED NOT NULL DEFAULT 0,
  refused     BIGINT UNSIGNED NOT NULL DEFAULT 0,
  last_error  VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  worker      BIGINT UNSIGNED NULL,
  worked_at   TIMESTAMP(6) NULL DEFAULT NULL,
  ended_at    TIMESTAMP(6) NULL DEFAULT NULL,
  KEY res_batch_open (ended_at)
) ENGINE = InnoDB;
