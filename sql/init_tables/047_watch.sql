-- Watched tables. One row: how far their changes have been read in the server's binary log, and which daemon reads them. It
-- is changed in the transaction that numbers the events up to there, so that none is lost or numbered twice.
CREATE TABLE IF NOT EXISTS res_watch (
  id          TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  server      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  file        VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  pos         BIGINT UNSIGNED NOT NULL DEFAULT 0,
  gtids       MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  owner       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  lease_until TIMESTAMP(6) NULL DEFAULT NULL,
  saved_at    TIMESTAMP(6) NULL DEFAULT NULL
) ENGINE = InnoDB;
INSERT IGNORE INTO res_watch (id) VALUES (1);
-- The events of one large transaction that is still being read. They are numbered together when its end has been read.
CREATE TABLE IF NOT EXISTS res_watch_row (
  n       BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  bytes   INT UNSIGNED NOT NULL,
  state   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
