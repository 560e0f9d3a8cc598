"""Threshold is an action that judges an event's value and remembers the highest one:
decoding, an error for a bad event, and the plugin's own key-value store."""

import stavily


class Config:
    max: float = 0.0


@stavily.action("threshold", config=Config)
def plugin(ctx, request):
    data = request.event.data
    value = data.get("value") if isinstance(data, dict) else None
    if type(value) not in (int, float):
        raise ValueError("event data: value: want a number")
    highest = stavily.whole(max(ctx.kv_get("highest", value), value))
    ctx.kv_put("highest", highest)
    return {"over": value > ctx.config.max, "highest": highest}
