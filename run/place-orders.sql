-- One transaction of the shop: `count` orders, as its web application would insert them. The trigger enqueues their workflows in the same one.
-- psql variables: count, first (the number of the first of them, so that every run has the same orders).
INSERT INTO orders (customer, address, sku, quantity)
SELECT
    (ARRAY['Amelia','Noah','Ines','Jonas','Priya','Mateo','Yuki','Olga','Samir','Freya','Luca','Zoe','Tomasz','Aisha','Henrik','Chloe','Diego',
        'Mei','Anders','Leila'])[1 + n % 20]
    || ' ' || (ARRAY['Becker','Okafor','Lindqvist','Moreau','Tanaka','Silva','Novak','Haddad','Murphy','Rossi','Kowalski','Jensen','Patel',
        'Fischer','Dubois','Andersson','Costa'])[1 + (n * 7) % 17],
    (1 + (n * 37) % 180) || ' ' || (ARRAY['Harbour Street','Mill Lane','Station Road','Linden Avenue','Church Hill','Garden Row','Canal Walk',
        'Market Square','Orchard Close','Bridge End','North Parade'])[1 + (n * 3) % 11]
    || ', ' || (ARRAY['Bristol','Leeds','Aarhus','Ghent','Porto','Turku','Graz','Lyon','Gdansk','Utrecht','Cork','Bergen','Malmo'])[1 + (n * 5) % 13],
    (SELECT sku FROM stock ORDER BY sku OFFSET (n * 11) % 24 LIMIT 1),
    1 + (n * n) % 5
FROM generate_series(:first, :first + :count - 1) AS n;
