"""A shop: a web application of Flask whose stock is slow to answer for some orders."""

import time

from flask import Flask, jsonify

app = Flask("shop")
delayed = frozenset()  # orders
DELAY = 0.03  # seconds


class Stock:
    def price(self, number, *, kind):
        if number in delayed:
            time.sleep(DELAY)
        return len(kind) * number


stock = Stock()


@app.get("/order/<int:number>/<kind>")
def order(number, kind):
    return jsonify(number=number, price=stock.price(number, kind=kind))
