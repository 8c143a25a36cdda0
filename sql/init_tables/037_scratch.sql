-- Databases that exist for a moment, for resq to see what templates and migrations make. Each is entered before it is created,
-- so that none stays after a crash. The session that uses one holds the lock of its name; on a cluster, where a lock holds on one
-- node only, none is removed before `until`.
CREATE TABLE IF NOT EXISTS res_scratch (
  db_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  purpose VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  until   TIMESTAMP(6) NULL DEFAULT NULL
) ENGINE = InnoDB;
