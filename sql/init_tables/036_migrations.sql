-- The greatest number among the migrations that the database has, and the one it was built with. Both are 0 in databases that
-- were built before there were migrations.
ALTER TABLE res_database ADD COLUMN version INT UNSIGNED NOT NULL DEFAULT 0;
ALTER TABLE res_database ADD COLUMN built_version INT UNSIGNED NOT NULL DEFAULT 0;
ALTER TABLE res_database ADD INDEX res_database_version (res_type, version);
-- The files that each res_database.template_version stands for, in the order in which they run: by them a database can be
-- built again as it was.
CREATE TABLE IF NOT EXISTS res_template (
  template_version CHAR(40) CHARACTER SET ascii NOT NULL,
  number           INT UNSIGNED NOT NULL,
  path             VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  text             LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (template_version, number)
) ENGINE = InnoDB;
-- Each migration that some database has, as it was then: a file of that number must not differ.
CREATE TABLE IF NOT EXISTS res_migration (
  number   INT UNSIGNED NOT NULL PRIMARY KEY,
  res_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  path     VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  text     LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at       TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
-- How far each database has come in each migration: the statement, and whether it is done or may have been interrupted. The
-- digest is of the statements up to that one: no other file continues behind it. A migration without a row and above
-- res_database.version has not begun.
CREATE TABLE IF NOT EXISTS res_ledger (
  db_name   VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  number    INT UNSIGNED NOT NULL,
  statement INT UNSIGNED NOT NULL,
  is_done   BOOLEAN NOT NULL,
  digest    CHAR(40) CHARACTER SET ascii NOT NULL,
  claim_id  BIGINT UNSIGNED NOT NULL,
  rollout   BIGINT UNSIGNED NOT NULL,
  begun_at  TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  ended_at  TIMESTAMP(6) NULL DEFAULT NULL,
  PRIMARY KEY (db_name, number)
) ENGINE = InnoDB;
-- A migration of many databases. While one is open, its number is res_meta's `rollout`. Wave 0 are the canaries.
CREATE TABLE IF NOT EXISTS res_rollout (
  id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  state          ENUM('running', 'unconfirmed', 'paused', 'halted', 'aborted', 'finished') NOT NULL DEFAULT 'running',
  wave           INT UNSIGNED NOT NULL DEFAULT 0,
  confirm_canary BOOLEAN NOT NULL,
  max_failures   INT UNSIGNED NOT NULL,
  failed         INT UNSIGNED NOT NULL DEFAULT 0,
  started_at     TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  ended_at       TIMESTAMP(6) NULL DEFAULT NULL
) ENGINE = InnoDB;
-- The migrations of a rollout, so that every daemon runs the same whatever files it has.
CREATE TABLE IF NOT EXISTS res_rollout_file (
  rollout  BIGINT UNSIGNED NOT NULL,
  number   INT UNSIGNED NOT NULL,
  res_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  path     VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  text     LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (rollout, number)
) ENGINE = InnoDB;
-- The databases of a rollout. The owner is the daemon whose worker has it, as in res_daemon.
CREATE TABLE IF NOT EXISTS res_rollout_database (
  rollout      BIGINT UNSIGNED NOT NULL,
  db_name      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  res_id       BIGINT UNSIGNED NOT NULL,
  res_type     VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  from_version INT UNSIGNED NOT NULL,
  to_version   INT UNSIGNED NOT NULL,
  wave         INT UNSIGNED NOT NULL,
  state        ENUM('waiting', 'running', 'migrated', 'failed', 'skipped') NOT NULL DEFAULT 'waiting',
  owner        VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  claim_id     BIGINT UNSIGNED NULL,
  postponed    INT UNSIGNED NOT NULL DEFAULT 0,
  interrupted  INT UNSIGNED NOT NULL DEFAULT 0,
  retry_at     TIMESTAMP(6) NULL DEFAULT NULL,
  message      TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  started_at   TIMESTAMP(6) NULL DEFAULT NULL,
  ended_at     TIMESTAMP(6) NULL DEFAULT NULL,
  PRIMARY KEY (rollout, db_name),
  KEY res_rollout_database_next (rollout, state, wave, db_name)
) ENGINE = InnoDB;
