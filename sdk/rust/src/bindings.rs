//! What `wit-bindgen` makes of the contract.
//!
//! One module holds the types and the capabilities; the three worlds on top of it only add what a component exports.
//! Which of the worlds a component has is decided where [`crate::export!`] is used, because the description of the world
//! must end up in that component alone.

pub mod shared {
    //! The types and every capability.

    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package weft:sdk;
            world shared {
                import weft:cni/facts@0.1.0;
                import weft:cni/files@0.1.0;
                import weft:cni/leases@0.1.0;
                import weft:cni/devices@0.1.0;
                import weft:cni/log@0.1.0;
                import weft:cni/plan@0.1.0;
                import weft:cni/requests@0.1.0;
            }
        ",
        world: "weft:sdk/shared",
        additional_derives: [PartialEq, Eq],
        runtime_path: "::wit_bindgen::rt",
        generate_all,
        generate_unused_types: true,
    });
}

macro_rules! world {
    ($module:ident, $world:literal, $macro:literal, [$($interface:literal = $name:ident),*]) => {
        pub mod $module {
            //! One kind of component.

            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                with: { $($interface: crate::bindings::shared::weft::cni::$name),* },
                pub_export_macro: true,
                export_macro_name: $macro,
            });
        }
    };
}
world!(
    delegate,
    "delegate-component",
    "export_delegate",
    [
        "weft:cni/types@0.1.0" = types,
        "weft:cni/plan@0.1.0" = plan,
        "weft:cni/requests@0.1.0" = requests,
        "weft:cni/facts@0.1.0" = facts,
        "weft:cni/files@0.1.0" = files,
        "weft:cni/devices@0.1.0" = devices,
        "weft:cni/log@0.1.0" = log
    ]
);
world!(
    ipam,
    "ipam-component",
    "export_ipam",
    [
        "weft:cni/types@0.1.0" = types,
        "weft:cni/requests@0.1.0" = requests,
        "weft:cni/facts@0.1.0" = facts,
        "weft:cni/files@0.1.0" = files,
        "weft:cni/leases@0.1.0" = leases,
        "weft:cni/log@0.1.0" = log
    ]
);
world!(
    rewriter,
    "rewriter-component",
    "export_rewriter",
    [
        "weft:cni/types@0.1.0" = types,
        "weft:cni/requests@0.1.0" = requests,
        "weft:cni/files@0.1.0" = files,
        "weft:cni/log@0.1.0" = log
    ]
);
