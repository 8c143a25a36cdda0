-- The demonstration: a database `Test` with one table. Its rows are test runs that go through Imaging, Suspended,
-- Completed and Error, and a trigger tells the subscribers of each state. Run after `resqctl init`.
--
-- Each change is a durable event of the same transaction: told after its commit, never after a rollback. What only
-- matters at this moment, a progress display for instance, could go by `DO resq_notify('Imaging', '{…}')` instead.
CREATE DATABASE IF NOT EXISTS Test DEFAULT CHARACTER SET utf8mb4;
USE Test;

CREATE TABLE IF NOT EXISTS runs (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  state ENUM('Imaging', 'Suspended', 'Completed', 'Error') NOT NULL DEFAULT 'Imaging'
);

DROP TRIGGER IF EXISTS runs_tell_new;
CREATE TRIGGER runs_tell_new AFTER INSERT ON runs FOR EACH ROW
  CALL resq.publish(NEW.state, JSON_OBJECT('test', NEW.name));

DELIMITER $$
DROP TRIGGER IF EXISTS runs_tell_change $$
CREATE TRIGGER runs_tell_change AFTER UPDATE ON runs FOR EACH ROW
  IF NEW.state <> OLD.state THEN
    CALL resq.publish(NEW.state, JSON_OBJECT('test', NEW.name));
  END IF $$
DELIMITER ;

-- Try it, with `resq-client --sub Suspended Completed Error` running beside:
--   INSERT INTO Test.runs (name) VALUES ('T7');
--   UPDATE Test.runs SET state = 'Suspended' WHERE name = 'T7';
