"""A web shop on Redis: flask --app shop run.  How to find what is slow in it:
docs/howto-slow-request.md."""

import os

import redis
from flask import Flask, jsonify

app = Flask("shop")
db = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


@app.get("/order/<int:number>")
def order(number):
    return jsonify(number=number, customer=customer_of(number))


@app.get("/customer/<name>")
def customer(name):
    return jsonify(name=name, orders=orders_of(name))


def customer_of(number):
    return db.get(f"order:{number}").decode()


def orders_of(name):
    """Looks at every key of the database: it works well as long as there are few."""
    return sorted(int(key.split(b":")[2]) for key in db.keys(f"by-customer:{name}:*"))


@app.cli.command("fill")
def fill():
    """A hundred thousand orders, of a thousand customers."""
    for thousand in range(0, 100_000, 1000):
        orders = {}
        for number in range(thousand, thousand + 1000):
            orders[f"order:{number}"] = f"c{number % 1000}"
            orders[f"by-customer:c{number % 1000}:{number}"] = "1"
        db.mset(orders)
