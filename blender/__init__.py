"""File > Import > Infinex take: shape keys and the head's turns of a selected face, at the take's own rate."""

from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from . import takes


class IMPORT_OT_infinex_take(bpy.types.Operator, ImportHelper):  # noqa: N801
    """Give a take (Live Link Face's .csv, or a .glb with Apple's shapes) to the selected faces and armature"""

    bl_idname = "import_anim.infinex_take"
    bl_label = "Import take"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    filename_ext = ".csv"
    filter_glob: StringProperty(default="*.csv;*.glb", options={"HIDDEN"})
    start: IntProperty(name="Start frame", default=1, description="Where the take begins")
    rate: BoolProperty(
        name="Rate and range of the scene", default=True, description="Set the scene's frames a second, start and end"
    )
    turn: BoolProperty(name="Turn the head", default=True)
    bone: StringProperty(name="Head bone", description="Of the armature; empty: the one that is called head")

    def execute(self, context):
        """Import; what is wrong is reported in one line."""
        try:
            said = import_take(context, self.filepath, self.start, self.rate, self.turn, self.bone)
        except takes.TakeError as error:
            self.report({"ERROR"}, f"{Path(self.filepath).name} {error}")
            return {"CANCELLED"}
        self.report({"INFO"}, said)
        return {"FINISHED"}


def import_take(context, path, start=1, rate=True, turn=True, bone=""):
    """Give a take to what is selected; without a face among it a `.glb` brings its own. Raises TakeError."""
    take = takes.read(path)
    scene = context.scene
    chosen = list(context.selected_objects)
    faces = [o for o in chosen if o.type == "MESH" and matching(o, take)]
    rigs = {o for o in chosen if o.type == "ARMATURE"} | {r for o in faces if (r := o.find_armature()) is not None}
    own = not faces and not rigs and path.lower().endswith(".glb")
    if own:
        before = set(bpy.data.objects)
        bpy.ops.import_scene.gltf(filepath=path)
        faces = [o for o in bpy.data.objects if o not in before and o.type == "MESH" and matching(o, take)]
    if not faces and not rigs:
        raise takes.TakeError("needs a face: select a mesh with Apple's shape keys (jawOpen ...), or an armature")
    bones = [(r, b) for r in rigs if (b := head_bone(r, bone)) is not None] if turn and take.head is not None else []
    if bone and turn and not bones:
        raise takes.TakeError(f"turns the bone {bone!r}, which no selected armature has")
    if rate:
        scene.render.fps = max(1, round(take.fps))
        scene.render.fps_base = scene.render.fps / take.fps
    fps = scene.render.fps / scene.render.fps_base
    frames = start + take.times * fps
    if rate:
        scene.frame_start, scene.frame_end = start, int(np.ceil(frames[-1] - 1e-3))
    name = Path(path).stem
    for face in faces:
        curves = action(face.data.shape_keys, name)
        for key, weights in matching(face, take):
            keyed(curves, f'key_blocks["{bpy.utils.escape_identifier(key)}"].value', 0, frames, weights)
    for rig, b in bones:
        b.rotation_mode = "QUATERNION"
        rest = np.array(b.bone.matrix_local.to_quaternion())
        away = rest * [1, -1, -1, -1]
        turns = [
            takes.product(takes.product(away, q), rest) for q in take.head
        ]  # from the armature's axes to the bone's
        path = f'pose.bones["{bpy.utils.escape_identifier(b.name)}"].rotation_quaternion'
        turned(action(rig, name), path, frames, np.array(turns))
    if turn and take.head is not None and not bones:
        for face in faces:
            here = np.array(face.matrix_basis.to_quaternion()) if not own else np.array([1.0, 0, 0, 0])
            face.rotation_mode = "QUATERNION"
            turned(
                action(face, name), "rotation_quaternion", frames, np.array([takes.product(here, q) for q in take.head])
            )
    return f"{len(take.times)} frames at {fps:g}, {len(faces)} faces, {len(bones)} head bones"


def matching(face, take):
    """Names of a mesh's shape keys with the weights that a take has for them."""
    if face.data.shape_keys is None:
        return []
    keys = [(k.name, takes.plain(k.name)) for k in face.data.shape_keys.key_blocks]
    return [(name, take.shapes[p]) for name, p in keys if p in take.shapes]


def head_bone(rig, name):
    """A pose bone by name, or the one that is called head, or else ends so (`DEF-head`, `mixamorig:Head`)."""
    if name:
        return rig.pose.bones.get(name)
    for fits in (lambda n: n == "head", lambda n: n.endswith("head")):
        for b in rig.pose.bones:
            if fits(takes.plain(b.name)):
                return b
    return None


def action(owner, name):
    """The curves of a new action of `owner`."""
    data = owner.animation_data or owner.animation_data_create()
    made = data.action = bpy.data.actions.new(name)
    if not hasattr(made, "slots"):  # before 4.4
        return made.fcurves
    slot = made.slots.new(owner.id_type, owner.name)
    data.action_slot = slot
    return made.layers.new("Take").strips.new(type="KEYFRAME").channelbag(slot, ensure=True).fcurves


def keyed(curves, path, index, frames, values):
    """A curve with a key at every frame whose value is known, straight between them."""
    there = np.isfinite(values)
    curve = curves.new(path, index=index)
    points = curve.keyframe_points
    points.add(int(there.sum()))
    points.foreach_set("co", np.stack([frames[there], values[there]], 1).ravel().tolist())
    linear = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value
    points.foreach_set("interpolation", [linear] * len(points))
    curve.update()


def turned(curves, path, frames, turns):
    """The four curves of quaternions (T, 4), each the shorter way round from the last."""
    known = np.flatnonzero(np.isfinite(turns).all(1))
    signs = np.sign((turns[known][1:] * turns[known][:-1]).sum(1))
    turns[known[1:]] *= np.cumprod(np.where(signs < 0, -1, 1))[:, None]
    for i in range(4):
        keyed(curves, path, i, frames, turns[:, i])


def menu(self, context):
    """The entry under File > Import."""
    self.layout.operator(IMPORT_OT_infinex_take.bl_idname, text="Infinex take (.csv, .glb)")


def register():
    """For Blender."""
    bpy.utils.register_class(IMPORT_OT_infinex_take)
    bpy.types.TOPBAR_MT_file_import.append(menu)


def unregister():
    """For Blender."""
    bpy.types.TOPBAR_MT_file_import.remove(menu)
    bpy.utils.unregister_class(IMPORT_OT_infinex_take)
