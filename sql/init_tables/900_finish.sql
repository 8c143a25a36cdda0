-- Left behind by an interrupted `init` of an older version.
DROP PROCEDURE IF EXISTS res_add;
