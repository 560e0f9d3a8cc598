"""Counter is a trigger with state: it fires every so often with a number that goes on
counting after a restart, and with how long it has counted. That is measured by the steady
clock: the wall clock may be set meanwhile."""

import stavily


class Config:
    every: str = ""

    def validate(self):
        try:
            self.seconds = stavily.duration(self.every)
        except ValueError as error:
            raise ValueError(f"every: {error}") from error
        if self.seconds < 0.1:
            raise ValueError("every: want 100ms or more")


@stavily.trigger("counter", config=Config)
def plugin(ctx, wake):
    state = wake.state or {}
    count, since_ms = state.get("count", 0), state.get("since_ms", 0)  # when it began, by wake.steady_ms
    if wake.why != "timer":
        state = {"count": count, "since_ms": since_ms if count else wake.steady_ms}
        return stavily.Fired(state=state, after=ctx.config.seconds)
    state = {"count": count + 1, "since_ms": since_ms}
    event = {"count": count + 1, "for_ms": wake.steady_ms - since_ms}
    return stavily.Fired(events=[event], state=state, after=ctx.config.seconds)
