-- Writes a durable event in the caller's transaction. Applications have EXECUTE on it, and DROP would revoke that, so
-- `init` skips this file if the procedure exists with exactly this body: comments in the body belong to it.
DROP PROCEDURE IF EXISTS publish;
CREATE PROCEDURE publish(IN p_state LONGTEXT CHARACTER SET utf8mb4, IN p_payload LONGTEXT CHARACTER SET utf8mb4)
BEGIN
  IF p_state IS NULL OR LENGTH(p_state) NOT BETWEEN 1 AND 64 OR p_state COLLATE utf8mb4_bin REGEXP '[^A-Za-z0-9_.:-]' THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'resq.publish: a state is 1 to 64 of A-Z a-z 0-9 _ . : -';
  END IF;
  IF p_payload IS NULL OR NOT JSON_VALID(p_payload) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'resq.publish: the payload is not JSON';
  END IF;
  IF LENGTH(p_payload) > 1000000 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'resq.publish: the payload is over 1,000,000 bytes';
  END IF;
  INSERT INTO res_outbox (state, payload) VALUES (p_state, p_payload);
  -- The function may be missing: that costs a poll, never the caller's statement.
  BEGIN
    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
    DO resq_ring();
  END;
END;
