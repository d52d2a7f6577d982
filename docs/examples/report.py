"""A report on a million sales: python report.py [SALES].  How to find out why it takes so much
time and memory: docs/howto-memory-gc.md."""

import sys


class Sale:
    def __init__(self, shop, number):
        self.shop = shop
        self.number = number
        self.cents = number * 7 % 1000


class Shop:
    def __init__(self, name):
        self.name = name
        self.sales = []  # each of which knows its shop


def load(count):
    """All sales in memory at once."""
    shops = [Shop(f"shop {i}") for i in range(100)]
    for number in range(count):
        shop = shops[number % len(shops)]
        shop.sales.append(Sale(shop, number))
    return shops


def table(shops):
    """The sums as text, from a string that grows."""
    text = ""
    for shop in shops:
        text += f"{shop.name} {sum(sale.cents for sale in shop.sales)}\n"
    return text


def main():
    shops = load(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    sys.stdout.write(table(shops))


main()
