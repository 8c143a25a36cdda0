-- Character sets are named because the database of an older installation may default to another.
-- Facts about this installation: schema_version, and `paused` while the queue is.
CREATE TABLE IF NOT EXISTS res_meta (
  name  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  value VARCHAR(255) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
-- Each daemon, and until when the lease on its jobs lasts.
CREATE TABLE IF NOT EXISTS res_daemon (
  owner       VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  lease_until TIMESTAMP(6) NULL DEFAULT NULL,
  started_at  TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
-- How many workers it has: of its jobs in progress, no more can have been running at one time.
ALTER TABLE res_daemon ADD COLUMN workers INT UNSIGNED NULL DEFAULT NULL;
-- Every failed attempt.
CREATE TABLE IF NOT EXISTS res_error (
  id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  res_id  BIGINT UNSIGNED NOT NULL,
  attempt INT UNSIGNED NOT NULL,
  at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  message TEXT NOT NULL,
  KEY res_error_job (res_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
-- The rows of res_queue that a daemon has set aside because the server refuses to change them. For operators only: the
-- daemon goes by what it has in memory.
CREATE TABLE IF NOT EXISTS res_quarantine (
  res_id   BIGINT UNSIGNED NOT NULL,
  owner    VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  what     VARCHAR(16) CHARACTER SET ascii NOT NULL,
  message  VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL,
  since    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  retry_at TIMESTAMP(6) NULL DEFAULT NULL,
  PRIMARY KEY (res_id, owner)
) ENGINE = InnoDB;
-- Every database that resq created or is about to create. The row is committed before CREATE DATABASE, and only for a
-- name that is free at that moment. A database without a row here is never dropped.
CREATE TABLE IF NOT EXISTS res_database (
  db_name          VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  res_id           BIGINT UNSIGNED NOT NULL,
  res_type         VARCHAR(64) NOT NULL,
  state            ENUM('making', 'ready') NOT NULL DEFAULT 'making',
  template_version CHAR(40) CHARACTER SET ascii NOT NULL,
  claim_id         BIGINT UNSIGNED NOT NULL,
  created_at       TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  KEY res_database_job (res_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
-- Set from before DROP DATABASE until the rows of the job are deleted, so that a drop that failed halfway can be completed.
ALTER TABLE res_database ADD COLUMN dropping_at TIMESTAMP(6) NULL DEFAULT NULL;
