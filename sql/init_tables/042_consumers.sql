-- Positions in the event log that are kept for consumers. The holder is drawn at random by the connection that takes the
-- consumer over, or by an operator who moves it, and only the holder's positions are written. client: the last connection,
-- or NULL after an operator. The position is a number of the log with this log_id.
CREATE TABLE IF NOT EXISTS res_consumer (
  name       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  log_id     BIGINT UNSIGNED NOT NULL,
  position   BIGINT UNSIGNED NOT NULL,
  holder     BIGINT UNSIGNED NOT NULL,
  client     VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  states     VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  taken_at   TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
