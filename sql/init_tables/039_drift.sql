-- What the last check found about a database: when, at which version, and in words. After a migration it says nothing any more.
-- A check of all databases writes the rows of which something else was kept, and when it began as res_meta's `checked_at`.
ALTER TABLE res_database ADD COLUMN drift_at TIMESTAMP NULL DEFAULT NULL;
ALTER TABLE res_database ADD COLUMN drift_version INT UNSIGNED NULL DEFAULT NULL;
ALTER TABLE res_database ADD COLUMN drift ENUM('same', 'differs', 'unknown') NULL DEFAULT NULL;
ALTER TABLE res_database ADD COLUMN drift_found TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
ALTER TABLE res_database ADD INDEX res_database_drift (drift);
