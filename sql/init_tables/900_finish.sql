DROP PROCEDURE res_add_column;
DROP PROCEDURE res_add_index;
INSERT INTO res_meta (name, value) VALUES ('schema_version', '1') ON DUPLICATE KEY UPDATE value = VALUES(value);
