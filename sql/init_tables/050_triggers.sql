-- Every change of a job's status is a durable event. MySQL has no CREATE OR REPLACE TRIGGER; under the lock the table is
-- never written without its triggers. Both have the same body, since a shared procedure would cost a CALL for each row,
-- and EXECUTE for the triggers' definer. An old table may hold names in a binary column, which MySQL's JSON refuses.
LOCK TABLES res_queue WRITE;
DROP TRIGGER IF EXISTS res_queue_inserted;
CREATE TRIGGER res_queue_inserted AFTER INSERT ON res_queue FOR EACH ROW
BEGIN
  IF NEW.status IS NOT NULL THEN
    INSERT INTO res_outbox (state, payload) VALUES (
      ELT(FIELD(NEW.status, 'new', 'in_progress', 'done', 'error'), 'New', 'InProgress', 'Completed', 'Error'),
      JSON_OBJECT('res_id', NEW.res_id, 'res_name', CONVERT(NEW.res_name USING utf8mb4), 'res_type', NEW.res_type,
                  'status', NEW.status, 'attempts', NEW.attempts, 'db_name', NEW.db_name, 'last_error', NEW.last_error));
    BEGIN
      DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
      DO resq_ring();
    END;
  END IF;
END;
DROP TRIGGER IF EXISTS res_queue_updated;
CREATE TRIGGER res_queue_updated AFTER UPDATE ON res_queue FOR EACH ROW
BEGIN
  IF NEW.status IS NOT NULL AND NOT NEW.status <=> OLD.status THEN
    INSERT INTO res_outbox (state, payload) VALUES (
      ELT(FIELD(NEW.status, 'new', 'in_progress', 'done', 'error'), 'New', 'InProgress', 'Completed', 'Error'),
      JSON_OBJECT('res_id', NEW.res_id, 'res_name', CONVERT(NEW.res_name USING utf8mb4), 'res_type', NEW.res_type,
                  'status', NEW.status, 'attempts', NEW.attempts, 'db_name', NEW.db_name, 'last_error', NEW.last_error));
    BEGIN
      DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
      DO resq_ring();
    END;
  END IF;
END;
UNLOCK TABLES;
