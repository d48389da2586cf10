"""The demo exchange: a market of its own on 127.0.0.1 that speaks Binance's USDT-M futures protocol. ``server.py`` puts it together."""
