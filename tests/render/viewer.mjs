// SPDX-License-Identifier: Apache-2.0
// Renders glTF and VRM files from four cameras, compares two of them, and says what a VRM runtime
// finds in them. Driven by render.py: window.view(url), window.compare(a, b), window.forget(url).
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { MeshoptDecoder } from "three/addons/libs/meshopt_decoder.module.js";
import { VRMLoaderPlugin, VRMUtils } from "@pixiv/three-vrm";

const SIZE = 384;
const WINDOW = 7; // of SSIM, in pixels

const renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
renderer.setSize(SIZE, SIZE);
document.body.append(renderer.domElement);

const loader = new GLTFLoader();
loader.setMeshoptDecoder(MeshoptDecoder);
loader.register((parser) => new VRMLoaderPlugin(parser));

const views = new Map(); // by URL

function lit(model) {
    const scene = new THREE.Scene();
    scene.background = new THREE.Color(0x9aa4ad);
    scene.add(new THREE.HemisphereLight(0xffffff, 0x667788, 2));
    const sun = new THREE.DirectionalLight(0xffffff, 2);
    sun.position.set(1, 2, 3);
    scene.add(sun, model);
    return scene;
}

// Of what is drawn: bones and empty nodes reach further.
function boxOf(model) {
    const box = new THREE.Box3();
    model.updateWorldMatrix(true, true);
    model.traverse((part) => {
        if (!part.isMesh)
            return;
        if (part.isSkinnedMesh)
            part.computeBoundingBox();
        else
            part.geometry.computeBoundingBox();
        box.union((part.boundingBox ?? part.geometry.boundingBox).clone()
            .applyMatrix4(part.matrixWorld));
    });
    return box;
}

// Where the head begins: the bone that rigs call so, else the upper eighth.
function neckOf(model, box) {
    let found = null;
    model.traverse((part) => {
        if (!found && part.isBone && /(^|[^a-z])head($|[^a-z])/i.test(part.name))
            found = part.getWorldPosition(new THREE.Vector3());
    });
    const guess = new THREE.Vector3(
        (box.min.x + box.max.x) / 2, box.max.y - (box.max.y - box.min.y) / 8, (box.min.z + box.max.z) / 2);
    return found && box.containsPoint(found) ? found : guess;
}

// Front, back, from the side, and the head.
function camerasOf(model) {
    const box = boxOf(model);
    const center = box.getCenter(new THREE.Vector3());
    const radius = Math.max(box.getSize(new THREE.Vector3()).length() / 2, 1e-3);
    const neck = neckOf(model, box);
    const head = neck.clone().setY(neck.y + 0.4 * (box.max.y - neck.y));
    const at = (target, direction, reach) => {
        const camera = new THREE.PerspectiveCamera(30, 1, reach / 50, reach * 50);
        camera.position.copy(target).addScaledVector(direction.normalize(), reach / Math.sin(0.26));
        camera.lookAt(target);
        return camera;
    };
    return [
        at(center, new THREE.Vector3(0, 0.1, 1), 0.8 * radius),
        at(center, new THREE.Vector3(0, 0.1, -1), 0.8 * radius),
        at(center, new THREE.Vector3(1, 0.2, 0.6), 0.8 * radius),
        at(head, new THREE.Vector3(0.3, 0.1, 1), Math.max(0.9 * (box.max.y - neck.y), radius / 20)),
    ];
}

function pixelsOf(scene, camera) {
    renderer.render(scene, camera);
    const canvas = new OffscreenCanvas(SIZE, SIZE);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(renderer.domElement, 0, 0);
    return {
        png: renderer.domElement.toDataURL("image/png"),
        data: context.getImageData(0, 0, SIZE, SIZE).data,
    };
}

function factsOf(gltf) {
    const vrm = gltf.userData.vrm;
    const meshes = [];
    gltf.scene.traverse((part) => part.isMesh && meshes.push(part));
    const facts = {
        triangles: meshes.reduce((sum, mesh) => sum +
            (mesh.geometry.index ?? mesh.geometry.attributes.position).count / 3, 0),
        skinned: meshes.filter((mesh) => mesh.isSkinnedMesh).length,
        morphs: [...new Set(meshes.flatMap(
            (mesh) => Object.keys(mesh.morphTargetDictionary ?? {})))].sort(),
        animations: gltf.animations.map((animation) => animation.name).sort(),
    };
    if (!vrm)
        return facts;
    const influences = () => meshes.flatMap((mesh) => mesh.morphTargetInfluences ?? []).join();
    const expressions = vrm.expressionManager?.expressions ?? [];
    return {
        ...facts,
        vrm: vrm.meta.metaVersion,
        bones: Object.keys(vrm.humanoid.humanBones).sort(),
        springs: vrm.springBoneManager?.joints.size ?? 0,
        expressions: expressions.map((one) => one.expressionName).sort(),
        // those that move something when they are set
        moving: expressions.filter((one) => {
            const before = influences();
            vrm.expressionManager.setValue(one.expressionName, 1);
            vrm.expressionManager.update();
            const after = influences();
            vrm.expressionManager.setValue(one.expressionName, 0);
            vrm.expressionManager.update();
            return before !== after;
        }).map((one) => one.expressionName).sort(),
    };
}

// like: another URL that was viewed; its cameras are used.
window.view = async (url, like) => {
    const gltf = await loader.loadAsync(url);
    const vrm = gltf.userData.vrm;
    if (vrm)
        VRMUtils.rotateVRM0(vrm);
    const scene = lit(gltf.scene);
    const cameras = like ? views.get(like).cameras : camerasOf(gltf.scene);
    const facts = factsOf(gltf);
    vrm?.update(0);
    const pictures = cameras.map((camera) => pixelsOf(scene, camera));
    views.set(url, { cameras, pictures });
    VRMUtils.deepDispose(gltf.scene);
    return { facts, pictures: pictures.map((picture) => picture.png) };
};

window.forget = (url) => views.delete(url);

function lumaOf(data) {
    const luma = new Float64Array(SIZE * SIZE);
    for (let i = 0; i < luma.length; i++)
        luma[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    return luma;
}

// Sums over all rectangles from the corner on.
function integral(values) {
    const sums = new Float64Array((SIZE + 1) * (SIZE + 1));
    for (let y = 0; y < SIZE; y++)
        for (let x = 0, row = 0; x < SIZE; x++) {
            row += values[y * SIZE + x];
            sums[(y + 1) * (SIZE + 1) + x + 1] = sums[y * (SIZE + 1) + x + 1] + row;
        }
    return (x, y) => (sums[(y + WINDOW) * (SIZE + 1) + x + WINDOW] - sums[y * (SIZE + 1) + x + WINDOW] -
        sums[(y + WINDOW) * (SIZE + 1) + x] + sums[y * (SIZE + 1) + x]) / WINDOW ** 2;
}

// Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), uniform windows, over those in which
// either picture shows something: the background alone would make everything alike.
function ssim(first, second) {
    const a = lumaOf(first), b = lumaOf(second);
    const means = [a, b, a.map((v) => v * v), b.map((v) => v * v), a.map((v, i) => v * b[i])].map(integral);
    const c1 = (0.01 * 255) ** 2, c2 = (0.03 * 255) ** 2;
    let sum = 0, count = 0;
    for (let y = 0; y + WINDOW <= SIZE; y++)
        for (let x = 0; x + WINDOW <= SIZE; x++) {
            const [ma, mb, aa, bb, ab] = means.map((mean) => mean(x, y));
            const va = aa - ma * ma, vb = bb - mb * mb, cov = ab - ma * mb;
            if (va < 0.5 && vb < 0.5 && Math.abs(ma - mb) < 0.5)
                continue;
            sum += (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
            count++;
        }
    return count ? sum / count : 1;
}

// Of each camera.
window.compare = (first, second) => views.get(first).pictures.map((picture, i) =>
    ssim(picture.data, views.get(second).pictures[i].data));

document.title = "ready";
