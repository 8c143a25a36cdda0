-- When the database is to be dropped with its job, unless it is restored before; why the last try at that failed, and when the
-- next one is due.
ALTER TABLE res_database ADD COLUMN drop_at TIMESTAMP(6) NULL DEFAULT NULL;
ALTER TABLE res_database ADD COLUMN drop_error VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL;
ALTER TABLE res_database ADD COLUMN drop_retry_at TIMESTAMP(6) NULL DEFAULT NULL;
ALTER TABLE res_database ADD INDEX res_database_drop (drop_at);
