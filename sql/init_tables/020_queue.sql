-- The queue. An installation older than resq has only the first columns. The calls add the others, each by an INSTANT or
-- INPLACE change that keeps every row and every res_id; an INT res_id stays, since changing it to BIGINT copies the table.
CREATE TABLE IF NOT EXISTS res_queue (
  res_id     BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  res_name   VARCHAR(255) NOT NULL,
  status     ENUM('new', 'in_progress', 'done', 'error') DEFAULT 'new',
  res_url    VARCHAR(500) NULL,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
ALTER TABLE res_queue ADD COLUMN res_type VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT 'default';
ALTER TABLE res_queue ADD COLUMN priority SMALLINT NOT NULL DEFAULT 0;
-- NULL means ready. The dispatcher sets rows to NULL when they are due, so that all conditions of a claim are equalities.
ALTER TABLE res_queue ADD COLUMN run_at TIMESTAMP(6) NULL DEFAULT NULL;
ALTER TABLE res_queue ADD COLUMN attempts INT UNSIGNED NOT NULL DEFAULT 0;
ALTER TABLE res_queue ADD COLUMN max_attempts INT UNSIGNED NULL;
-- Attempts that lost their worker; they do not count as attempts.
ALTER TABLE res_queue ADD COLUMN interruptions INT UNSIGNED NOT NULL DEFAULT 0;
ALTER TABLE res_queue ADD COLUMN last_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL;
ALTER TABLE res_queue ADD COLUMN db_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
-- The daemon that holds the row while it is in progress, and its claim: random, so that a stale holder never matches.
ALTER TABLE res_queue ADD COLUMN owner VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
ALTER TABLE res_queue ADD COLUMN claim_id BIGINT UNSIGNED NULL;
ALTER TABLE res_queue ADD COLUMN started_at TIMESTAMP(6) NULL DEFAULT NULL;
-- Made by `resqctl seed`; `resqctl clear` drops these without --all.
ALTER TABLE res_queue ADD COLUMN seeded BOOLEAN NOT NULL DEFAULT FALSE;
-- A claim's two equalities, then its exact order: it needs no sort, and so locks no row that it does not take.
ALTER TABLE res_queue ADD INDEX res_queue_claim (status, run_at, priority, res_id);
