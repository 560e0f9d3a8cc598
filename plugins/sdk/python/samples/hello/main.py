"""Hello is the smallest action: it greets whom the configuration names."""

import stavily


class Config:
    name: str = ""

    def validate(self):
        if len(self.name.encode()) > 80:
            raise ValueError("name: want at most 80 bytes")
        self.name = self.name or "world"


@stavily.action("hello", config=Config)
def plugin(ctx, request):
    ctx.log("info", f"greeting {ctx.config.name}")
    return {"run": request.event.run, "text": f"hello, {ctx.config.name}"}
