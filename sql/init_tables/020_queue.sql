-- The queue. An installation from before resq has the first columns only; the calls add what it lacks, each an
-- INSTANT or INPLACE change that keeps every row and every res_id (its INT stays: BIGINT would copy the table).
CREATE TABLE IF NOT EXISTS res_queue (
  res_id     BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  res_name   VARCHAR(255) NOT NULL,
  status     ENUM('new', 'in_progress', 'done', 'error') DEFAULT 'new',
  res_url    VARCHAR(500) NULL,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CALL res_add_column('res_queue', 'res_type', 'VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT ''default''');
CALL res_add_column('res_queue', 'priority', 'SMALLINT NOT NULL DEFAULT 0');
-- NULL: ready. Rows whose time has come are set to NULL by the dispatcher, so that a claim's conditions are all equalities.
CALL res_add_column('res_queue', 'run_at', 'TIMESTAMP(6) NULL DEFAULT NULL');
CALL res_add_column('res_queue', 'attempts', 'INT UNSIGNED NOT NULL DEFAULT 0');
CALL res_add_column('res_queue', 'max_attempts', 'INT UNSIGNED NULL');
-- Attempts that lost their worker: they do not count as attempts.
CALL res_add_column('res_queue', 'interruptions', 'INT UNSIGNED NOT NULL DEFAULT 0');
CALL res_add_column('res_queue', 'last_error', 'TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL');
CALL res_add_column('res_queue', 'db_name', 'VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL');
-- Who holds the row while it is in progress, and under which claim: random, so that a stale holder never matches.
CALL res_add_column('res_queue', 'owner', 'VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL');
CALL res_add_column('res_queue', 'claim_id', 'BIGINT UNSIGNED NULL');
CALL res_add_column('res_queue', 'started_at', 'TIMESTAMP(6) NULL DEFAULT NULL');
-- Made by `resqctl seed`: what `resqctl clear` may drop without being told --all.
CALL res_add_column('res_queue', 'seeded', 'BOOLEAN NOT NULL DEFAULT FALSE');
-- Equality on the first two, then the exact order of a claim: no sort, so no locks on rows that are not taken.
CALL res_add_index('res_queue', 'res_queue_claim', 'status, run_at, priority, res_id');
