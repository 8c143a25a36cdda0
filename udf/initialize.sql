-- The demonstration: a database `Test` with one table. Its rows are test runs that go through the states Imaging,
-- Suspended, Completed and Error, and triggers publish each change. Run it after `resqctl init`.
--
-- Each change is a durable event of the same transaction: delivered after the commit, and never after a rollback. For
-- something that matters only at the moment, such as a progress bar, use `DO resq_notify('Imaging', '{…}')` instead.
CREATE DATABASE IF NOT EXISTS Test DEFAULT CHARACTER SET utf8mb4;
USE Test;

CREATE TABLE IF NOT EXISTS runs (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  state ENUM('Imaging', 'Suspended', 'Completed', 'Error') NOT NULL DEFAULT 'Imaging'
);

DROP TRIGGER IF EXISTS runs_publish_new;
CREATE TRIGGER runs_publish_new AFTER INSERT ON runs FOR EACH ROW
  CALL resq.publish(NEW.state, JSON_OBJECT('test', NEW.name));

DELIMITER $$
DROP TRIGGER IF EXISTS runs_publish_change $$
CREATE TRIGGER runs_publish_change AFTER UPDATE ON runs FOR EACH ROW
  IF NEW.state <> OLD.state THEN
    CALL resq.publish(NEW.state, JSON_OBJECT('test', NEW.name));
  END IF $$
DELIMITER ;

-- To try it, run `resq-client --sub Suspended Completed Error` in another terminal, then:
--   INSERT INTO Test.runs (name) VALUES ('T7');
--   UPDATE Test.runs SET state = 'Suspended' WHERE name = 'T7';
