-- Adds a column or an index (p_kind) to a table of an older installation unless it is there: MySQL has no ADD COLUMN IF
-- NOT EXISTS. The last step drops this procedure.
DROP PROCEDURE IF EXISTS res_add;
CREATE PROCEDURE res_add(IN p_table VARCHAR(64) CHARACTER SET utf8mb4, IN p_kind ENUM('COLUMN', 'INDEX'),
                         IN p_name VARCHAR(64) CHARACTER SET utf8mb4, IN p_definition VARCHAR(500) CHARACTER SET utf8mb4)
BEGIN
  IF NOT EXISTS (SELECT 1 FROM information_schema.COLUMNS
                 WHERE p_kind = 'COLUMN' AND TABLE_SCHEMA = DATABASE() AND TABLE_NAME = p_table AND COLUMN_NAME = p_name)
     AND NOT EXISTS (SELECT 1 FROM information_schema.STATISTICS
                     WHERE p_kind = 'INDEX' AND TABLE_SCHEMA = DATABASE() AND TABLE_NAME = p_table AND INDEX_NAME = p_name) THEN
    SET @res_ddl = CONCAT('ALTER TABLE `', p_table, '` ADD ', p_kind, ' `', p_name, '` ', p_definition);
    PREPARE res_ddl FROM @res_ddl;
    EXECUTE res_ddl;
    DEALLOCATE PREPARE res_ddl;
  END IF;
END;
