"""The files of FLUX.1-dev that a Kaggle kernel may fetch, and those of the micro Flux.

Sizes and hashes are those that Hugging Face shows for each file. The VAE lies in black-forest-labs'
own repository behind a licence page; the very same bytes lie, without one, in Comfy-Org's
repackaged Z-Image. A base that is not in the table (one that was quantised here, say) must come
with a data set.
"""

from models import store
from models.micro import micro_set, spec
from training.kaggle.model_file import Files, ModelFile, Role
from training.run_plan import Plan

_ENCODERS = "comfyanonymous/flux_text_encoders"
_ENCODERS_REVISION = "6af2a98e3f615bdfa612fbd85da93d1ed5f69ef5"
_GGUF = "city96/FLUX.1-dev-gguf"
_GGUF_HASHES = {
    "Q2_K": "b8c464bc0f10076ef8f00ba040d220d90c7993f7c4245ae80227d857f65df105",
    "Q4_0": "2867e9575640d80ccbcbf65010659a4d09e676a034637bc37eac7f2531c46e90",
    "Q4_1": "da04c47a9b717bf9a4dd545e46d89e4a62fb44b9497bf9a5d13d622d592fbcda",
    "Q4_K_S": "75bb19459b5240c9f373b5af527584af15b675867fa142efadf7478d6abbf62b",
    "Q5_K_S": "aa76146ca0f1b09c67e0c3fcef18be3a375837ecd5aaa021d3e9ebc558bd68f9",
    "Q6_K": "9566d56031d7f8de184bb5a0393073956ec4e28b32db3f860bd2b87edca04d13",
    "Q8_0": "129032f32224bf7138f16e18673d8008ba5f84c1ec74063bf4511a8bb4cf553d",
}
_BASES = {
    digest: ModelFile(name := f"flux1-dev-{kind}.gguf", 0, digest, _GGUF, name)
    for kind, digest in _GGUF_HASHES.items()
}
_CLIP_L = ModelFile(
    "clip_l.safetensors",
    246_144_152,
    "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd",
    _ENCODERS,
    "clip_l.safetensors",
    _ENCODERS_REVISION,
)
_T5_FP16 = ModelFile(
    "t5xxl_fp16.safetensors",
    9_787_841_024,
    "6e480b09fae049a72d2a8c5fbccb8d3e92febeb233bbe9dfe7256958a9167635",
    _ENCODERS,
    "t5xxl_fp16.safetensors",
    _ENCODERS_REVISION,
)
_T5_FP8 = ModelFile(
    "t5xxl_fp8_e4m3fn.safetensors",
    4_893_934_904,
    "7d330da4816157540d6bb7838bf63a0f02f573fc48ca4d8de34bb0cbfd514f09",
    _ENCODERS,
    "t5xxl_fp8_e4m3fn.safetensors",
    _ENCODERS_REVISION,
)
_VAE_HASH = "afc8e28272cd15db3919bacdb6918ce9c1ed22e96cb12c4d5ed0fba823529e38"
_VAE = ModelFile(
    "ae.safetensors",
    335_304_388,
    _VAE_HASH,
    "Comfy-Org/z_image_turbo",
    "split_files/vae/ae.safetensors",
    "08d04455279082882deaabc8d0d09fc914c071e1",
)
_VAE_GATED = ModelFile(
    "ae.safetensors",
    335_304_388,
    _VAE_HASH,
    "black-forest-labs/FLUX.1-dev",
    "ae.safetensors",
    gated=True,
)


def of(plan: Plan) -> Files:
    """Return the files that a plan needs.

    Raises:
        OSError: a file of the micro set cannot be read.
    """
    if is_micro(plan):
        return _micro(plan)
    base = _BASES.get(plan.base_sha256)
    known = ModelFile(plan.base_name, 0, plan.base_sha256)
    if base is not None:  # by its bytes, whatever it is called here
        known = ModelFile(plan.base_name, 0, base.sha256, base.repo, base.path, base.revision)
    return {
        Role.UNET: (known,),
        Role.CLIP_L: (_CLIP_L,),
        Role.T5: (_T5_FP16, _T5_FP8),
        Role.VAE: (_VAE, _VAE_GATED),
    }


def is_micro(plan: Plan) -> bool:
    """Return whether the base is the micro Flux, by its file's name."""
    return plan.base_name.startswith(spec.UNET_FILE.removesuffix("F16.safetensors"))


def _micro(plan: Plan) -> Files:
    shipped = micro_set.place(micro_set.SHIPPED)
    kept = {Role.CLIP_L: shipped.clip_l, Role.T5: shipped.t5, Role.VAE: shipped.vae}
    return {
        Role.UNET: (ModelFile(plan.base_name, 0, plan.base_sha256),),
        **{
            role: (ModelFile(path.name, path.stat().st_size, store.sha256(path)),)
            for role, path in kept.items()
        },
    }
