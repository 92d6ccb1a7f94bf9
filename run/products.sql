-- The products of the shop, and what of them there is.

INSERT INTO stock (sku, on_hand)
SELECT sku, 2000 FROM (VALUES
    ('tea-assam-250'), ('tea-darjeeling-100'), ('tea-earl-grey-250'), ('tea-jasmine-100'), ('tea-rooibos-250'), ('tea-sencha-100'),
    ('coffee-ethiopia-500'), ('coffee-colombia-500'), ('coffee-decaf-250'), ('teapot-cast-iron'), ('teapot-glass-1l'), ('kettle-steel'),
    ('cup-porcelain-blue'), ('cup-porcelain-white'), ('cup-travel-steel'), ('grinder-hand'), ('press-french-8'), ('filter-paper-100'),
    ('honey-acacia'), ('honey-heather'), ('biscuits-ginger'), ('biscuits-oat'), ('sugar-rock-white'), ('spoon-measuring')) AS product (sku);

-- What the proof compares with at the end.
CREATE TABLE opening_stock AS SELECT sku, on_hand FROM stock;
