from dataclasses import replace

import pytest

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.graph import Workflow
from bridge.request import LoraChoice
from bridge.workflow import Slot
from tests.graph_kit import advanced, base, ksampler, node, values
from tests.slot_kit import REQUEST, built, custom, two_stages

# --- samplers ---


def test_a_ksampler_takes_everything_itself() -> None:
    graph = built(base(sample=ksampler()), replace(REQUEST, sampler="dpmpp_2m", denoise=0.5))
    sampler = values(graph, "sample")
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (77, 8, 3.0)
    assert (sampler["sampler_name"], sampler["denoise"]) == ("dpmpp_2m", 0.5)
    assert sampler["scheduler"] == "simple", "the workflow's own, as the request has none"
    latent = values(graph, "latent")
    assert (latent["width"], latent["height"], latent["batch_size"]) == (640, 384, 2)


def test_what_the_user_gave_a_name_of_its_own_is_not_found_by_walking() -> None:
    repeat = node("RepeatLatentBatch", "vulcan:pictures=amount", samples=("latent", 0), amount=4)
    graph = base(sample=ksampler(latent_image=("repeat", 0)), repeat=repeat)
    done = built(graph)
    assert values(done, "repeat")["amount"] == 4
    assert values(done, "latent")["batch_size"] == 2
    more = built(graph, replace(REQUEST, slots=(("pictures", 3),)))
    assert values(more, "repeat")["amount"] == 3


def test_a_ksampler_advanced_is_seeded_by_noise_seed() -> None:
    sampler = values(built(base(sample=advanced())), "sample")
    assert (sampler["noise_seed"], sampler["steps"]) == (77, 8)
    assert (sampler["start_at_step"], sampler["end_at_step"]) == (0, 10000)


def test_the_custom_samplers_parts_are_each_found_behind_their_link() -> None:
    request = replace(REQUEST, sampler="heun", scheduler="beta", denoise=0.9)
    graph = built(custom(), request)
    assert values(graph, "noise")["noise_seed"] == 77
    assert values(graph, "select")["sampler_name"] == "heun"
    schedule = values(graph, "schedule")
    assert (schedule["steps"], schedule["scheduler"], schedule["denoise"]) == (8, "beta", 0.9)
    assert values(graph, "guidance")["guidance"] == 2.5
    assert (values(graph, "shift")["width"], values(graph, "shift")["height"]) == (640, 384)
    assert values(graph, "text")["text"] == "a fox"


def test_steps_are_found_through_nodes_that_only_split_sigmas() -> None:
    split = custom(split=node("SplitSigmas", sigmas=("schedule", 0), step=3))
    split["sample"]["inputs"]["sigmas"] = ["split", 0]
    assert values(built(split), "schedule")["steps"] == 8


def test_a_cfg_guider_takes_cfg_and_a_negative_of_its_own() -> None:
    guider = node(
        "CFGGuider", model=("unet", 0), positive=("guidance", 0), negative=("none", 0), cfg=1.0
    )
    graph = built(custom(guider=guider), replace(REQUEST, negative="blur"))
    taken = values(graph, "guider")
    assert taken["cfg"] == 3.0
    assert values(graph, taken["negative"][0])["text"] == "blur"
    assert values(graph, "text")["text"] == "a fox"


def test_a_sampler_custom_takes_seed_and_cfg_itself_and_the_rest_behind_links() -> None:
    sampler = node(
        "SamplerCustom",
        model=("unet", 0),
        add_noise=True,
        noise_seed=5,
        cfg=1.0,
        positive=("text", 0),
        negative=("none", 0),
        sampler=("select", 0),
        sigmas=("schedule", 0),
        latent_image=("latent", 0),
    )
    graph = built(custom(sample=sampler), replace(REQUEST, sampler="heun"))
    assert (values(graph, "sample")["noise_seed"], values(graph, "sample")["cfg"]) == (77, 3.0)
    assert values(graph, "select")["sampler_name"] == "heun"
    assert values(graph, "schedule")["steps"] == 8


def test_flux_text_encoders_get_the_prompt_twice_and_the_guidance() -> None:
    both = node("CLIPTextEncodeFlux", clip=("clip", 0), clip_l="x", t5xxl="y", guidance=3.5)
    text = values(built(base(sample=ksampler(), text=both)), "text")
    assert (text["clip_l"], text["t5xxl"], text["guidance"]) == ("a fox", "a fox", 2.5)


# --- several stages ---


def test_the_seed_goes_to_every_stage_and_steps_to_the_first() -> None:
    graph = built(two_stages(), replace(REQUEST, denoise=0.9))
    first, second = values(graph, "first"), values(graph, "sample")
    assert (first["seed"], second["seed"]) == (77, 77)
    assert (first["steps"], second["steps"]) == (8, 10)
    assert (first["denoise"], second["denoise"]) == (0.9, 0.4)
    assert values(graph, "latent")["width"] == 640
    assert values(graph, "larger")["width"] == 1024


def test_a_later_stage_follows_where_the_user_saved_the_same_value() -> None:
    graph = built(two_stages(steps=20, cfg=7.0), replace(REQUEST, sampler="heun"))
    second = values(graph, "sample")
    assert second["steps"] == 8, "20 in both"
    assert second["sampler_name"] == "heun", "euler in both"
    assert second["cfg"] == 7.0, "1 in the first"


def test_a_second_text_of_the_same_words_is_the_same_prompt() -> None:
    same = two_stages(positive=("again", 0))
    same["again"] = node("CLIPTextEncode", clip=("clip", 0), text="own words")
    assert values(built(same), "again")["text"] == "a fox"
    same["again"]["inputs"]["text"] = "sharper"
    assert values(built(same), "again")["text"] == "sharper"


def test_samplers_that_share_a_schedule_keep_their_shares_of_it() -> None:
    shared = base(
        first=advanced(end_at_step=5, return_with_leftover_noise="enable"),
        sample=advanced(latent_image=("first", 0), add_noise="disable", start_at_step=5),
    )
    graph = built(shared)
    assert (values(graph, "first")["steps"], values(graph, "sample")["steps"]) == (8, 8)
    assert values(graph, "first")["end_at_step"] == values(graph, "sample")["start_at_step"] == 2
    assert values(graph, "sample")["end_at_step"] == 10000


# --- values that come through links ---


def test_a_value_behind_a_link_is_written_where_it_is_kept() -> None:
    linked = base(
        sample=ksampler(seed=("seed", 0), steps=("steps", 0)),
        seed=node("PrimitiveInt", value=5, control_after_generate="randomize"),
        steps=node("PrimitiveInt", value=20),
        words=node("PrimitiveStringMultiline", value="own words"),
        text=node("CLIPTextEncode", clip=("clip", 0), text=("words", 0)),
    )
    graph = built(linked)
    assert values(graph, "seed")["value"] == 77
    assert values(graph, "steps")["value"] == 8
    assert values(graph, "words")["value"] == "a fox"
    assert values(graph, "text")["text"] == ["words", 0]


def test_a_primitive_of_two_slots_gives_way_to_a_value_of_each_ones_own() -> None:
    shared = base(
        sample=ksampler(),
        side=node("PrimitiveInt", value=512),
        latent=node("EmptyLatentImage", width=("side", 0), height=("side", 0), batch_size=1),
    )
    latent = values(built(shared), "latent")
    assert (latent["width"], latent["height"]) == (640, 384)


def test_a_text_joined_to_the_users_own_words_keeps_them() -> None:
    joined = base(
        sample=ksampler(),
        words=node("PrimitiveString", value="own words"),
        join=node("StringConcatenate", string_a="style of", string_b=("words", 0), delimiter=" "),
        text=node("CLIPTextEncode", clip=("clip", 0), text=("join", 0)),
    )
    graph = built(joined)
    assert values(graph, "words")["value"] == "a fox"
    assert values(graph, "join")["string_a"] == "style of"


def test_a_number_that_is_computed_is_no_slot() -> None:
    computed = base(
        sample=ksampler(steps=("sum", 0)), sum=node("MathExpression", expression="2*a", a=4)
    )
    assert Slot.STEPS not in workflow.find_slots(computed).places
    assert values(built(computed), "sample")["steps"] == ["sum", 0]
    with pytest.raises(WorkflowError, match=r"cannot take steps.*vulcan:steps"):
        built(computed, replace(REQUEST, asked=("steps",)))


# --- pictures, sizes, outputs ---


def img2img() -> Workflow:
    return base(
        sample=ksampler(latent_image=("encode", 0), denoise=0.7),
        load=node("LoadImage", image="own.png"),
        scale=node("ImageScale", image=("load", 0), width=512, height=512, crop="center"),
        encode=node("VAEEncode", pixels=("scale", 0), vae=("vae", 0)),
    )


def test_picture_to_picture_takes_the_picture_and_scales_it_to_the_size() -> None:
    graph = built(img2img(), replace(REQUEST, asked=("image",)), "vulcan/in/pose.png")
    assert values(graph, "load")["image"] == "vulcan/in/pose.png"
    assert (values(graph, "scale")["width"], values(graph, "scale")["height"]) == (640, 384)
    assert values(graph, "sample")["denoise"] == 0.7


def test_without_a_picture_the_users_own_stays() -> None:
    assert values(built(img2img()), "load")["image"] == "own.png"


def test_of_several_pictures_the_one_that_becomes_the_latent_is_meant() -> None:
    more = img2img()
    more["pose"] = node("LoadImage", image="pose.png")
    more["none"] = node("ControlNetApply", conditioning=("text", 0), image=("pose", 0))
    graph = built(more, REQUEST, "new.png")
    assert (values(graph, "load")["image"], values(graph, "pose")["image"]) == (
        "new.png",
        "pose.png",
    )


def test_a_picture_for_a_workflow_that_takes_none_is_refused() -> None:
    with pytest.raises(WorkflowError, match="cannot take image"):
        built(base(sample=ksampler()), REQUEST, "new.png")


def test_every_output_gets_a_prefix_of_its_own_and_previews_none() -> None:
    several = base(
        sample=ksampler(),
        second=node("SaveImage", images=("decode", 0), filename_prefix="own"),
        third=node("SaveAnimatedWEBP", images=("decode", 0), filename_prefix="own"),
        preview=node("PreviewImage", images=("decode", 0)),
    )
    graph = built(several)
    found = [values(graph, one)["filename_prefix"] for one in ("save", "second", "third")]
    assert sorted(found) == ["vulcan/id/img", "vulcan/id/img-2", "vulcan/id/img-3"]
    assert values(graph, "preview") == {"images": ["decode", 0]}


def test_a_prefix_that_came_through_a_link_is_each_outputs_own() -> None:
    shared = base(sample=ksampler(), name=node("PrimitiveString", value="own"))
    shared["save"]["inputs"]["filename_prefix"] = ["name", 0]
    shared["other"] = node("SaveImage", images=("decode", 0), filename_prefix=("name", 0))
    graph = built(shared)
    assert {values(graph, one)["filename_prefix"] for one in ("save", "other")} == {
        "vulcan/id/img",
        "vulcan/id/img-2",
    }


def test_a_graph_without_sampler_takes_what_it_has() -> None:
    bare = Workflow(
        {
            "1": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
            "2": node("SaveImage", images=("1", 0), filename_prefix="own"),
            "3": node("PrimitiveStringMultiline", "vulcan:prompt", value=""),
        }
    )
    graph = built(bare, replace(REQUEST, loras=(LoraChoice("l", 1.0),)))
    assert values(graph, "1") == {"width": 640, "height": 384, "batch_size": 2, "color": 0}
    assert values(graph, "3")["value"] == "a fox"
    assert set(graph) == {"1", "2", "3"}


def test_a_graph_with_no_place_for_a_prompt_is_refused_with_what_to_do() -> None:
    bare = Workflow(
        {
            "1": node("EmptyImage", width=64, height=64),
            "2": node("SaveImage", images=("1", 0), filename_prefix="own"),
        }
    )
    with pytest.raises(WorkflowError, match="vulcan:prompt"):
        workflow.find_slots(bare)


def test_a_graph_that_saves_nothing_is_refused() -> None:
    with pytest.raises(WorkflowError, match="Save Image"):
        workflow.find_slots(Workflow({"1": node("EmptyImage", width=64, height=64)}))


# --- what is asked for and not there ---


@pytest.mark.parametrize("slot", ["guidance", "cfg", "negative"])
def test_what_the_prompt_file_sets_must_have_a_place(slot: str) -> None:
    bare = custom(guider=node("BasicGuider", model=("shift", 0), conditioning=("text", 0)))
    request = replace(REQUEST, negative="blur", asked=(slot,))
    with pytest.raises(WorkflowError, match=f"cannot take {slot}.*vulcan:{slot}"):
        built(bare, request)
    built(bare, replace(request, asked=()))


def test_a_lora_asked_for_in_a_graph_without_a_model_is_refused() -> None:
    bare = Workflow(
        {
            "1": node("EmptyImage", width=64, height=64),
            "2": node("SaveImage", images=("1", 0), filename_prefix="own"),
            "3": node("PrimitiveString", "vulcan:prompt", value=""),
        }
    )
    request = replace(REQUEST, loras=(LoraChoice("l", 1.0),), asked=("lora",))
    with pytest.raises(WorkflowError, match="cannot take lora"):
        built(bare, request)


def test_a_saved_negative_stays_until_the_request_has_one() -> None:
    own = base(
        sample=ksampler(negative=("bad", 0)),
        bad=node("CLIPTextEncode", clip=("clip", 0), text="ugly"),
    )
    assert values(built(own), "bad")["text"] == "ugly"
    assert values(built(own, replace(REQUEST, negative="blur")), "bad")["text"] == "blur"
    assert values(built(own, replace(REQUEST, asked=("negative",))), "bad")["text"] == ""


def test_a_prompt_used_as_its_own_negative_is_told_apart_when_there_is_one() -> None:
    same = base(sample=ksampler(negative=("text", 0)))
    assert values(built(same), "sample")["negative"] == ["text", 0]
    graph = built(same, replace(REQUEST, negative="blur"))
    assert values(graph, values(graph, "sample")["negative"][0])["text"] == "blur"
    assert values(graph, "text")["text"] == "a fox"


# --- files ---


def test_files_go_into_loaders_that_can_load_them() -> None:
    graph = built(base(sample=ksampler()))
    assert values(graph, "unet")["unet_name"] == "u.gguf"
    assert values(graph, "clip")["clip_name2"] == "t.gguf"
    assert values(graph, "vae")["vae_name"] == "v.safetensors"


def test_a_loader_of_the_other_kind_keeps_its_own_model_and_companions() -> None:
    plain = base(
        sample=ksampler(), unet=node("UNETLoader", unet_name="own.safetensors", weight_dtype="x")
    )
    graph = built(plain)
    assert values(graph, "unet")["unet_name"] == "own.safetensors"
    assert values(graph, "clip")["clip_name1"] == "c0"
    assert values(graph, "vae")["vae_name"] == "v0"
    graph = built(plain, replace(REQUEST, unet="u.safetensors"))
    assert values(graph, "unet")["unet_name"] == "u.safetensors"


def test_a_plain_text_encoder_loader_gets_no_gguf_file() -> None:
    plain = base(sample=ksampler())
    plain["clip"]["class_type"] = "DualCLIPLoader"
    clip = values(built(plain), "clip")
    assert (clip["clip_name1"], clip["clip_name2"]) == ("c.safetensors", "t0")


def test_a_checkpoint_keeps_everything_that_is_in_it() -> None:
    whole = base(
        sample=ksampler(model=("check", 0)),
        check=node("CheckpointLoaderSimple", ckpt_name="own.safetensors"),
        text=node("CLIPTextEncode", clip=("check", 1), text="own words"),
    )
    del whole["clip"], whole["unet"]
    graph = built(whole)
    assert values(graph, "check") == {"ckpt_name": "own.safetensors"}
    assert values(graph, "vae")["vae_name"] == "v0"
    assert values(graph, "text")["text"] == "a fox"
