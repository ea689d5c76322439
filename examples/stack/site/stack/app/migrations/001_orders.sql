CREATE TABLE orders (id serial PRIMARY KEY, item text NOT NULL, packed boolean NOT NULL DEFAULT false);
INSERT INTO orders (item) VALUES ('an anchor'), ('a rope'), ('a lamp');
