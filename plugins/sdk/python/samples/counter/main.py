"""Counter is a trigger with state: it fires every so often with a number that goes on
counting after a restart."""

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
    state = wake.state or {"count": 0}
    if wake.why != "timer":
        return stavily.Fired(state=state, after=ctx.config.seconds)
    state = {"count": state["count"] + 1}
    return stavily.Fired(events=[state], state=state, after=ctx.config.seconds)
