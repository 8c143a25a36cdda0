-- Additional tables of resources of type `shop`.
CREATE TABLE products (
  product_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name       VARCHAR(255) NOT NULL,
  price_cent BIGINT NOT NULL
) ENGINE = InnoDB;
CREATE TABLE orders (
  order_id   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  product_id BIGINT UNSIGNED NOT NULL,
  quantity   INT UNSIGNED NOT NULL,
  at         TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT orders_product FOREIGN KEY (product_id) REFERENCES products (product_id)
) ENGINE = InnoDB;
