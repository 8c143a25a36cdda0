-- What later steps upgrade older tables with: MySQL knows no ADD COLUMN IF NOT EXISTS. Dropped again by the last step.
DROP PROCEDURE IF EXISTS res_add_column;
CREATE PROCEDURE res_add_column(IN p_table VARCHAR(64) CHARACTER SET utf8mb4, IN p_column VARCHAR(64) CHARACTER SET utf8mb4,
                                IN p_definition VARCHAR(500) CHARACTER SET utf8mb4)
BEGIN
  IF NOT EXISTS (SELECT 1 FROM information_schema.COLUMNS
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = p_table AND COLUMN_NAME = p_column) THEN
    SET @res_ddl = CONCAT('ALTER TABLE `', p_table, '` ADD COLUMN `', p_column, '` ', p_definition);
    PREPARE res_ddl FROM @res_ddl;
    EXECUTE res_ddl;
    DEALLOCATE PREPARE res_ddl;
  END IF;
END;
DROP PROCEDURE IF EXISTS res_add_index;
CREATE PROCEDURE res_add_index(IN p_table VARCHAR(64) CHARACTER SET utf8mb4, IN p_index VARCHAR(64) CHARACTER SET utf8mb4,
                               IN p_columns VARCHAR(500) CHARACTER SET utf8mb4)
BEGIN
  IF NOT EXISTS (SELECT 1 FROM information_schema.STATISTICS
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = p_table AND INDEX_NAME = p_index) THEN
    SET @res_ddl = CONCAT('ALTER TABLE `', p_table, '` ADD INDEX `', p_index, '` (', p_columns, ')');
    PREPARE res_ddl FROM @res_ddl;
    EXECUTE res_ddl;
    DEALLOCATE PREPARE res_ddl;
  END IF;
END;
