-- Additional tables of resources of type `blog`.
CREATE TABLE posts (
  post_id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  title        VARCHAR(255) NOT NULL,
  body         MEDIUMTEXT NOT NULL,
  published_at TIMESTAMP NULL DEFAULT NULL
) ENGINE = InnoDB;
