-- Tables of every resource. Runs in the resource's database.
CREATE TABLE reviews (
  review_id  BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  author     VARCHAR(255) NOT NULL,
  rating     TINYINT UNSIGNED NOT NULL,
  body       TEXT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  KEY reviews_created (created_at)
) ENGINE = InnoDB;
CREATE TABLE tracking (
  tracking_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  visitor     VARCHAR(64) NOT NULL,
  event       VARCHAR(64) NOT NULL,
  url         VARCHAR(500) NULL,
  at          TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  KEY tracking_at (at)
) ENGINE = InnoDB;
CREATE TABLE settings (
  name       VARCHAR(64) NOT NULL PRIMARY KEY,
  value      VARCHAR(500) NOT NULL,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) ENGINE = InnoDB;
INSERT INTO settings (name, value) VALUES
  ('resource.id', {{RES_ID}}),
  ('resource.name', {{RES_NAME}}),
  ('resource.type', {{RES_TYPE}}),
  ('resource.url', {{RES_URL}});
