"""A request that tests of journal, filing and worker share."""

from bridge.request import Request

REQUEST = Request(
    prompt="a fox",
    negative="",
    width=64,
    height=64,
    steps=3,
    guidance=3.5,
    cfg=1.0,
    seed=1,
    loras=(),
    workflow="txt2img",
    unet="x.gguf",
    text_encoders=("c.safetensors", "t.safetensors"),
    vae="v.safetensors",
)
