//! What a message of a line is, and its text.
//!
//! `EZWhatsApp` documents texts only, and names its format after whapi. Lines that are linked to a
//! phone may also pass on the types of the libraries behind them. So a type is read as a word in
//! the spellings of whapi, Baileys, `whatsapp-web.js` and the Cloud API. If the type is missing or
//! not known, the members of the message decide.
//!
//! Long because the words of all types are listed beside the rules that read them, and each
//! spelling is a test.

use super::item_members::{ItemMembers, plain_name};
use crate::{
    json::RawJson,
    provider::{ContentKind, LineContent},
};

/// The members that name the type.
const TYPE_NAMES: [&str; 3] = ["type", "messagetype", "typemessage"];
/// Messages that only wrap another one. Source: Baileys, `normalizeMessageContent`.
const WRAPPERS: [&str; 10] = [
    "ephemeral",
    "viewonce",
    "viewoncemessagev2extension",
    "documentwithcaption",
    "devicesent",
    "lottiesticker",
    "associatedchild",
    "botinvoke",
    "groupmentioned",
    "groupstatus",
];
/// How deep messages are unwrapped.
const MAX_WRAPPERS: usize = 5;
/// Types of texts: without a text they are empty.
const TEXT_TYPES: [&str; 4] = ["text", "chat", "conversation", "extendedtext"];
/// Types of a tapped reply. The title is what the customer means; a body may quote our message.
const REPLY_TYPES: [&str; 16] = [
    "reply",
    "interactive",
    "interactiveresponse",
    "interactivebuttonsreply",
    "interactivebuttonsresponse",
    "button",
    "buttonreply",
    "buttonsreply",
    "buttonsresponse",
    "listreply",
    "listresponse",
    "singleselectreply",
    "templatebuttonreply",
    "templatebuttonsreply",
    "nativeflowresponse",
    "quickreply",
];
/// Other types that a person sends, with a text or without.
const SENT_TYPES: [&str; 42] = [
    "image",
    "video",
    "gif",
    "short",
    "audio",
    "voice",
    "ptt",
    "ptv",
    "document",
    "documentwithcaption",
    "file",
    "photo",
    "media",
    "album",
    "sticker",
    "location",
    "livelocation",
    "contact",
    "contacts",
    "contactlist",
    "contactsarray",
    "vcard",
    "multivcard",
    "order",
    "product",
    "productitems",
    "catalog",
    "linkpreview",
    "groupinvite",
    "groupsv4invite",
    "newsletterinvite",
    "admininvite",
    "newsletteradmininvite",
    "hsm",
    "template",
    "highlystructured",
    "buttons",
    "list",
    "event",
    "comment",
    "quoted",
    "payment",
];
/// The words of all other types.
const OTHER_TYPES: [(ContentKind, &[&str]); 6] = [
    (ContentKind::Reaction, &["reaction", "encreaction", "reacted"]),
    (ContentKind::Edit, &["edit", "edited", "messageedit", "messageedited"]),
    (
        ContentKind::Deletion,
        &["delete", "deleted", "deletion", "remove", "revoke", "revoked", "messagerevoked", "adminrevoke", "unsend"],
    ),
    (
        ContentKind::Poll,
        &["poll", "pollcreation", "pollupdate", "pollvote", "pollresult", "pollresultsnapshot", "vote"],
    ),
    (
        ContentKind::Call,
        &["call", "calllog", "calllogmesssage", "bcall", "missedcall", "incomingcall", "scheduledcallcreation"],
    ),
    (
        ContentKind::Notice,
        &[
            "system",
            "notification",
            "notificationtemplate",
            "e2enotification",
            "e2eencrypted",
            "broadcastnotification",
            "groupnotification",
            "newsletternotification",
            "gp2",
            "protocol",
            "senderkeydistribution",
            "ephemeralsetting",
            "disappearing",
            "pin",
            "pininchat",
            "keepinchat",
            "star",
            "label",
            "requestwelcome",
            "requestphonenumber",
            "userchangednumber",
            "customerchangednumber",
            "useridentitychanged",
            "customeridentitychanged",
            "numberchanged",
            "eventresponse",
            "callpermissionreply",
            "callpermissionrequest",
            "debug",
            "fastratchetkeysenderkeydistribution",
            "initialsecuritynotificationsettingsync",
            "messagehistorynotice",
            "stickersyncrmr",
        ],
    ),
];
/// Members beside a message that describe its sender, its chat, or what others added to it.
const SIDE_MEMBERS: [&str; 11] =
    ["contact", "chat", "event", "comment", "media", "payment", "order", "list", "label", "star", "quoted"];
/// Types that say nothing. The members decide.
const VAGUE_TYPES: [&str; 5] = ["action", "unknown", "unsupported", "protocol", "ciphertext"];
/// Baileys' numbers of missed calls. Source: `WebMessageInfo.StubType`.
const CALL_STUBS: [&str; 4] = ["40", "41", "45", "46"];
/// Baileys' marks of messages that it could not read: encrypted, or of a later version of
/// `WhatsApp`. Their members decide. Source: `WebMessageInfo.StubType`.
const UNREAD_STUBS: [&str; 4] = ["2", "ciphertext", "3", "futureproof"];
/// Baileys' words for a deletion. Source: `WebMessageInfo.StubType`.
const DELETION_STUBS: [&str; 2] = ["1", "revoke"];
/// Where the id of a deleted message is if the item itself is that message.
const OWN_ID_PLACES: [&str; 3] = ["/key/id", "/id", "/message_id"];
/// Where a tapped reply has its title.
const TITLE_PLACES: [&str; 15] = [
    "/title",
    "/selectedDisplayText",
    "/selectedButtonText",
    "/Response/SelectedDisplayText",
    "/buttons_reply/title",
    "/button_reply/title",
    "/list_reply/title",
    "/buttonsReply/title",
    "/buttonReply/title",
    "/listReply/title",
    "/reply/title",
    "/singleSelectReply/title",
    "/text",
    "/body/text",
    "/body",
];
/// Members whose text is the title of a tapped reply.
const TITLE_NAMES: [&str; 5] =
    ["selecteddisplaytext", "selectedbuttontext", "selectedbuttontitle", "selectedtitle", "buttontext"];
/// Where a text is.
const TEXT_PLACES: [&str; 8] = [
    "/text/body",
    "/body",
    "/text",
    "/conversation",
    "/extendedTextMessage/text",
    "/link_preview/body",
    "/content",
    "/caption",
];
/// Where an edit has its new text.
const EDITED_PLACES: [&str; 22] = [
    "/action/edited_content/body",
    "/action/edited_content/text/body",
    "/action/edited_content/caption",
    "/action/edited_content",
    "/edit/message/text/body",
    "/edit/message/image/caption",
    "/edit/message/video/caption",
    "/edit/message/document/caption",
    "/edit/body",
    "/edit/text",
    "/protocolMessage/editedMessage/conversation",
    "/protocolMessage/editedMessage/extendedTextMessage/text",
    "/protocolMessage/editedMessage/imageMessage/caption",
    "/protocolMessage/editedMessage/videoMessage/caption",
    "/editedMessage/message/conversation",
    "/editedMessage/message/extendedTextMessage/text",
    "/editedMessage/message/imageMessage/caption",
    "/editedMessage/message/videoMessage/caption",
    "/editedMessage/message/documentMessage/caption",
    "/editedMessage/conversation",
    "/editedMessageData/textMessage",
    "/editedMessageData/caption",
];
/// Where the emoji of a reaction, the options of a vote, the question of a poll or the text of a
/// notice is.
const MARK_PLACES: [(ContentKind, &[&str]); 3] = [
    (
        ContentKind::Reaction,
        &["/action/emoji", "/reaction/emoji", "/reaction/text", "/reactionMessage/text", "/reactionMessage/emoji"],
    ),
    (
        ContentKind::Poll,
        &["/action/votes/0", "/poll/title", "/poll/name", "/poll/question", "/pollCreationMessage/name"],
    ),
    (ContentKind::Notice, &["/system/body"]),
];
/// Where the id of the earlier message is.
const TARGET_PLACES: [&str; 17] = [
    "/action/target",
    "/reaction/message_id",
    "/reaction/messageId",
    "/reaction/key/id",
    "/reactionMessage/key/id",
    "/edit/original_message_id",
    "/edit/message_id",
    "/revoke/original_message_id",
    "/revoke/message_id",
    "/delete/message_id",
    "/protocolMessage/key/id",
    "/editedMessageData/stanzaId",
    "/deletedMessageData/stanzaId",
    "/editedMessageId",
    "/revokedMessageId",
    "/deletedMessageId",
    "/original_message_id",
];
/// The longest word that is kept as the name of a type.
const MAX_NAME_LENGTH: usize = 30;
/// A body without white space from this length on is a file's bytes, as `whatsapp-web.js` puts them
/// into the body of a picture.
const MAX_WORD_LENGTH: usize = 200;

/// What an item is.
pub(super) fn parse_content(members: &ItemMembers<'_>) -> LineContent {
    let parts = MessageParts::of(members);
    let written_type = members.first(&TYPE_NAMES).owned_text();
    let word = written_type.as_deref().map(type_word).unwrap_or_default();
    let kind = parts.classify(&word);
    let text = match kind {
        ContentKind::Written | ContentKind::Unknown | ContentKind::Action => parts.find_text(&word),
        ContentKind::Edit => parts.find_edited_text(),
        ContentKind::Reaction | ContentKind::Poll | ContentKind::Notice => parts.find_mark(kind),
        ContentKind::Deletion | ContentKind::Call | ContentKind::Empty => None,
    };
    let kind = match kind {
        ContentKind::Unknown | ContentKind::Action if text.is_some() => ContentKind::Written,
        ContentKind::Written if text.is_none() && TEXT_TYPES.contains(&word.as_str()) => ContentKind::Empty,
        kind => kind,
    };
    let target = match kind {
        ContentKind::Deletion if parts.is_deletion_stub() => {
            parts.find(&TARGET_PLACES).or_else(|| parts.find(&OWN_ID_PLACES))
        }
        ContentKind::Edit | ContentKind::Deletion | ContentKind::Reaction => parts.find(&TARGET_PLACES),
        _ => None,
    };
    let name = match kind {
        ContentKind::Written | ContentKind::Unknown => {
            let name = written_type.filter(|name| is_plain(name)).or_else(|| parts.written_member());
            match name {
                Some(name) if !TEXT_TYPES.contains(&type_word(&name).as_str()) => name,
                Some(_) => "text".to_owned(),
                None => "unknown".to_owned(),
            }
        }
        kind => kind.name().to_owned(),
    };
    LineContent { kind, name, text, target }
}

/// The word of a type: `pollCreationMessageV3` is `pollcreation`.
fn type_word(name: &str) -> String {
    let word = plain_name(name);
    let unversioned = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let unversioned = unversioned.strip_suffix('v').filter(|_| unversioned.len() < word.len()).unwrap_or(&word);
    match unversioned.strip_suffix("message").or_else(|| word.strip_suffix("message")) {
        Some("") | None => word,
        Some(stem) => stem.to_owned(),
    }
}

/// Whether a name may appear in records.
fn is_plain(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What a word of a type means; `None` if it means nothing.
fn classify_word(word: &str) -> Option<ContentKind> {
    let is_among = |words: &[&str]| words.contains(&word);
    if is_among(&TEXT_TYPES) || is_among(&REPLY_TYPES) || is_among(&SENT_TYPES) {
        return Some(ContentKind::Written);
    }
    if let Some((kind, _)) = OTHER_TYPES.iter().find(|(_, words)| is_among(words)) {
        return Some(*kind);
    }
    // `missed_voice_call`, `CALL_MISSED_VIDEO`.
    if word.ends_with("call") || word.starts_with("missedcall") || word.starts_with("callmissed") {
        return Some(ContentKind::Call);
    }
    word.ends_with("notification").then_some(ContentKind::Notice)
}

/// The item and the message inside it.
struct MessageParts<'a, 'm> {
    /// The members of the item.
    item: &'m ItemMembers<'a>,
    /// The members of Baileys' message, unwrapped.
    message: ItemMembers<'a>,
    /// The members of both that are objects or texts, by the word of their type.
    members: Vec<(String, RawJson<'a>)>,
}

impl<'a, 'm> MessageParts<'a, 'm> {
    fn of(item: &'m ItemMembers<'a>) -> Self {
        // `whatsapp-web.js` keeps the original beside its own form.
        let original = ItemMembers::of(item.get("data")).unwrap_or_default();
        let message = [item.get("message"), original.get("message")].into_iter().find_map(ItemMembers::of);
        let mut message = message.unwrap_or_default();
        for _ in 0..MAX_WRAPPERS {
            let is_wrapper = |(name, _): &(&str, RawJson<'a>)| WRAPPERS.contains(&type_word(name).as_str());
            let inner = message.iter().find(is_wrapper).map(|(_, value)| value.at_pointer("/message"));
            let Some(inner) = inner.and_then(ItemMembers::of) else { break };
            message = inner;
        }
        // An edited message is wrapped, too, and says so.
        let edited = ItemMembers::of(message.get("editedmessage").at_pointer("/message"));
        if let Some(edited) = edited.filter(|edited| edited.get("protocolmessage").is_present()) {
            message = edited;
        }
        let of_types = item.iter().chain(message.iter()).chain(original.iter());
        let members = of_types.filter(|(_, value)| value.is_present()).map(|(name, value)| (type_word(name), value));
        let members = members.collect();
        Self { item, message, members }
    }

    /// What the message is, by the word of its type, else by its members.
    fn classify(&self, word: &str) -> ContentKind {
        let detail = match word {
            "action" => self.find(&["/action/type"]),
            "system" => self.find(&["/system/type", "/subtype"]),
            "unsupported" | "unknown" => self.find(&["/unsupported/type", "/subtype"]),
            "protocol" => self.find(&["/protocolMessage/type"]),
            "interactive" | "reply" | "" => self.find(&["/interactive/type", "/reply/type"]),
            _ => None,
        };
        let detail = detail.as_deref().map(type_word).unwrap_or_default();
        match (word, detail.as_str()) {
            ("protocol", "0") => ContentKind::Deletion,
            ("protocol", "14") => ContentKind::Edit,
            // Protobuf leaves out a type that is 0.
            ("protocol", "") if self.find(&["/protocolMessage/key/id"]).is_some() => {
                if self.find_edited_text().is_some() { ContentKind::Edit } else { ContentKind::Deletion }
            }
            // The customer tapped that we may call. It is not a text.
            ("interactive" | "reply" | "", "callpermissionreply") => ContentKind::Notice,
            ("protocol" | "action", _) => match classify_word(&detail) {
                Some(kind) if kind != ContentKind::Written => kind,
                _ if word == "protocol" => ContentKind::Notice,
                _ if !detail.is_empty() => ContentKind::Action,
                _ => self.classify_members(),
            },
            ("system", _) if classify_word(&detail) == Some(ContentKind::Call) => ContentKind::Call,
            ("unsupported" | "unknown", _) if !detail.is_empty() => match classify_word(&detail) {
                Some(kind) if kind != ContentKind::Written => kind,
                _ => ContentKind::Unknown,
            },
            (word, _) if VAGUE_TYPES.contains(&word) || word.is_empty() => self.classify_members(),
            (word, _) => classify_word(word).unwrap_or_else(|| self.classify_members()),
        }
    }

    /// What the message is, by the members that it has.
    fn classify_members(&self) -> ContentKind {
        let stub = self.item.get("messagestubtype").owned_text().map(|stub| plain_name(&stub));
        if let Some(stub) = stub.filter(|stub| stub != "0" && !UNREAD_STUBS.contains(&stub.as_str())) {
            if self.is_deletion_stub() {
                return ContentKind::Deletion;
            }
            let is_call = CALL_STUBS.contains(&stub.as_str()) || stub.starts_with("call");
            return if is_call { ContentKind::Call } else { ContentKind::Notice };
        }
        // Both say what they are.
        for (word, places) in
            [("protocol", &["/protocolMessage/type", "/protocolMessage/key/id"][..]), ("action", &["/action/type"])]
        {
            if self.find(places).is_some() {
                return self.classify(word);
            }
        }
        let is_content =
            |(name, value): &&(String, RawJson<'_>)| value.text().is_none() && !SIDE_MEMBERS.contains(&name.as_str());
        let kinds: Vec<ContentKind> =
            self.members.iter().filter(is_content).filter_map(|(name, _)| classify_word(name)).collect();
        // A key or a notice may travel with a message.
        let is_about_another = |kind: &&ContentKind| !matches!(kind, ContentKind::Written | ContentKind::Notice);
        if let Some(kind) = kinds.iter().find(is_about_another) {
            return *kind;
        }
        let is_written = kinds.contains(&ContentKind::Written) || self.find_plain_text().is_some();
        match (is_written, kinds.first()) {
            (true, _) => ContentKind::Written,
            (false, Some(kind)) => *kind,
            (false, None) => ContentKind::Unknown,
        }
    }

    /// Whether the item is a message of which only its deletion is left.
    fn is_deletion_stub(&self) -> bool {
        let stub = self.item.get("messagestubtype").text();
        stub.is_some_and(|stub| DELETION_STUBS.contains(&plain_name(&stub).as_str()))
    }

    /// The type of the first member that a person sends, for messages without a type.
    fn written_member(&self) -> Option<String> {
        let sent = |(name, value): &&(String, RawJson<'_>)| {
            value.text().is_none()
                && !SIDE_MEMBERS.contains(&name.as_str())
                && classify_word(name) == Some(ContentKind::Written)
        };
        self.members.iter().find(sent).map(|(name, _)| name.clone())
    }

    /// The text of a message, its caption, or the title of a tapped reply.
    fn find_text(&self, word: &str) -> Option<String> {
        let is_reply = REPLY_TYPES.contains(&word) || (word.is_empty() && self.has_reply());
        if is_reply {
            return self.find_title().or_else(|| self.find_caption()).or_else(|| self.find_plain_text());
        }
        if SENT_TYPES.contains(&word) {
            let body = || self.find_plain_text().filter(|text| !is_file(text));
            return self.find_caption().or_else(body).or_else(|| self.find_title());
        }
        self.find_plain_text().or_else(|| self.find_caption()).or_else(|| self.find_title())
    }

    fn has_reply(&self) -> bool {
        self.members.iter().any(|(name, value)| value.text().is_none() && REPLY_TYPES.contains(&name.as_str()))
    }

    fn find_plain_text(&self) -> Option<String> {
        self.find(&TEXT_PLACES)
    }

    fn find_caption(&self) -> Option<String> {
        let sent = self.members.iter().filter(|(name, _)| SENT_TYPES.contains(&name.as_str()));
        let caption = sent.map(|(_, value)| value.at_pointer("/caption")).find_map(visible_text);
        caption.or_else(|| self.find(&["/caption"]))
    }

    fn find_title(&self) -> Option<String> {
        let named = self.members.iter().filter(|(name, _)| TITLE_NAMES.contains(&name.as_str()));
        let replies = self.members.iter().filter(|(name, _)| REPLY_TYPES.contains(&name.as_str()));
        let in_reply = |(_, reply): &(String, RawJson<'a>)| {
            let in_place = || TITLE_PLACES.iter().find_map(|place| visible_text(reply.at_pointer(place)));
            find_flow_title(*reply, MAX_WRAPPERS).or_else(in_place)
        };
        named.map(|(_, value)| *value).find_map(visible_text).or_else(|| replies.into_iter().find_map(in_reply))
    }

    fn find_edited_text(&self) -> Option<String> {
        self.find(&EDITED_PLACES).or_else(|| self.find_plain_text()).or_else(|| self.find_caption())
    }

    fn find_mark(&self, kind: ContentKind) -> Option<String> {
        let (_, places) = MARK_PLACES.iter().find(|(of, _)| *of == kind)?;
        self.find(places)
    }

    /// The first text at one of these places, in the item or in the message.
    fn find(&self, places: &[&str]) -> Option<String> {
        let text_at = |place: &&str| {
            let (first, rest) = place[1..].split_at(place[1..].find('/').unwrap_or(place.len() - 1));
            let name = plain_name(first);
            [self.item, &self.message].into_iter().find_map(|root| visible_text(root.get(&name).at_pointer(rest)))
        };
        places.iter().find_map(text_at)
    }
}

/// The title of a tapped button of a "native flow". It is in a JSON text of its own, `paramsJson`,
/// in this object or deeper. Source: `WAProto`, `InteractiveResponseMessage`.
fn find_flow_title(reply: RawJson<'_>, depth: usize) -> Option<String> {
    let members = ItemMembers::of(reply)?;
    let title = members.get("paramsjson").owned_text().and_then(|params| {
        let params = crate::json::parse_document(params.as_bytes()).ok()?;
        visible_text(params.at_pointer("/display_text"))
    });
    let deeper = || members.iter().find_map(|(_, value)| find_flow_title(value, depth - 1));
    title.or_else(|| if depth > 1 { deeper() } else { None })
}

/// A text that shows something.
fn visible_text(value: RawJson<'_>) -> Option<String> {
    let is_visible = |c: char| !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    value.owned_text().filter(|text| text.chars().any(is_visible))
}

/// Whether a body holds the bytes of a file.
fn is_file(text: &str) -> bool {
    text.len() >= MAX_WORD_LENGTH && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parse(item: &Value) -> LineContent {
        let body = item.to_string();
        let raw = crate::json::parse_document(body.as_bytes()).unwrap();
        parse_content(&ItemMembers::of(raw).unwrap())
    }

    /// Kind, name and text of an item.
    fn parts(item: &Value) -> (ContentKind, String, Option<String>) {
        let LineContent { kind, name, text, .. } = parse(item);
        (kind, name, text)
    }

    fn assert_written(name: &str, text: Option<&str>, item: &Value) {
        assert_eq!(parts(item), (ContentKind::Written, name.to_owned(), text.map(str::to_owned)), "{item}");
    }

    fn assert_kind(kind: ContentKind, item: &Value) {
        assert_eq!((parse(item).kind, parse(item).name.as_str()), (kind, kind.name()), "{item}");
    }

    #[test]
    fn texts_and_captions_are_text_in_every_spelling() {
        for item in [
            json!({"type": "text", "text": {"body": "Hi"}, "body": "Hi"}),
            json!({"type": "text", "body": "Hi"}),
            json!({"type": "text", "text": "Hi"}),
            json!({"type": "chat", "body": "Hi"}),
            json!({"messageType": "conversation", "message": {"conversation": "Hi"}}),
            json!({"messageType": "extendedTextMessage", "message": {"extendedTextMessage": {"text": "Hi"}}}),
            json!({"type": "conversation", "_data": {"message": {"conversation": "Hi"}}}),
            json!({"type": "text", "message": {"ephemeralMessage": {"message": {"extendedTextMessage": {"text": "Hi"}}}}}),
            json!({"message": {"conversation": "Hi", "messageContextInfo": {}, "senderKeyDistributionMessage": {}}, "type": "conversation"}),
        ] {
            assert_written("text", Some("Hi"), &item);
        }
        for (name, item) in [
            ("image", json!({"type": "image", "image": {"id": "1", "caption": "Hi"}})),
            ("video", json!({"type": "video", "video": {"caption": "Hi"}, "body": null})),
            ("document", json!({"type": "document", "document": {"caption": "Hi", "filename": "a.pdf"}})),
            ("gif", json!({"type": "gif", "gif": {"caption": "Hi"}})),
            ("image", json!({"type": "image", "caption": "Hi", "body": "/9j/4AAQ".repeat(60)})),
            ("image", json!({"type": "image", "body": "Hi"})),
            ("imageMessage", json!({"messageType": "imageMessage", "message": {"imageMessage": {"caption": "Hi"}}})),
            (
                "video",
                json!({"type": "video", "message": {"viewOnceMessageV2": {"message": {"videoMessage": {"caption": "Hi"}}}}}),
            ),
            ("image", json!({"message": {"imageMessage": {"caption": "Hi"}}})),
            (
                "documentWithCaptionMessage",
                json!({"type": "documentWithCaptionMessage", "message": {"documentWithCaptionMessage": {"message": {"documentMessage": {"caption": "Hi"}}}}}),
            ),
            ("link_preview", json!({"type": "link_preview", "link_preview": {"body": "Hi", "title": "Page"}})),
        ] {
            assert_written(name, Some("Hi"), &item);
        }
        for kind in ["image", "audio", "voice", "sticker", "location", "contact", "order", "live_location", "ptt"] {
            assert_written(kind, None, &json!({"type": kind, kind: {"id": "1"}}));
        }
        assert_written("image", None, &json!({"type": "image", "body": "/9j/4AAQ".repeat(60)}));
    }

    #[test]
    fn the_title_of_a_tapped_reply_is_text_in_every_spelling() {
        for item in [
            json!({"type": "reply", "reply": {"type": "buttons_reply", "buttons_reply": {"id": "b:stop", "title": "Stop"}}}),
            json!({"type": "reply", "reply": {"type": "list_reply", "list_reply": {"id": "1", "title": "Stop", "description": "No more"}}}),
            json!({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "1", "title": "Stop"}}}),
            json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "1", "title": "Stop"}}}),
            json!({"type": "button", "button": {"payload": "stop-1", "text": "Stop"}}),
            json!({"messageType": "buttonsResponseMessage", "message": {"buttonsResponseMessage": {"selectedButtonId": "1", "selectedDisplayText": "Stop"}}}),
            json!({"type": "buttonsResponseMessage", "buttonsResponseMessage": {"selectedButtonId": "1", "selectedDisplayText": "Stop"}}),
            json!({"message": {"buttonsResponseMessage": {"Response": {"SelectedDisplayText": "Stop"}}}}),
            json!({"messageType": "listResponseMessage", "message": {"listResponseMessage": {"title": "Stop", "singleSelectReply": {"selectedRowId": "1"}}}}),
            json!({"message": {"templateButtonReplyMessage": {"selectedId": "1", "selectedDisplayText": "Stop"}}}),
            json!({"type": "template_button_reply", "body": "Stop", "selectedId": "1"}),
            json!({"type": "templateButtonsReplyMessage", "templateButtonReplyMessage": {"stanzaId": "1", "selectedDisplayText": "Stop"}}),
            json!({"type": "buttons_response", "selectedButtonId": "1", "body": "Stop"}),
            json!({"type": "buttons_response", "selectedDisplayText": "Stop", "body": "Your order 1001 is ready"}),
            json!({"message": {"interactiveResponseMessage": {"body": {"text": "Stop"}, "nativeFlowResponseMessage": {"name": "quick_reply"}}}}),
            json!({"messageType": "interactiveResponseMessage", "message": {"interactiveResponseMessage": {"nativeFlowResponseMessage":
                {"name": "quick_reply", "paramsJson": "{\"display_text\":\"Stop\",\"id\":\"1\"}"}}}}),
            json!({"message": {"interactiveResponseMessage": {"InteractiveResponseMessage": {"NativeFlowResponseMessage":
                {"name": "quick_reply", "paramsJSON": "{\"id\":\"1\",\"display_text\":\"Stop\"}"}}}}}),
            json!({"type": "list_response", "body": "Stop", "listResponse": {"title": "Stop"}}),
            json!({"type": "text", "text": null, "reply": {"buttons_reply": {"title": "Stop"}}}),
            json!({"type": "hologram", "button_reply": {"title": "Stop"}}),
        ] {
            let content = parse(&item);
            assert_eq!((content.kind, content.text.as_deref()), (ContentKind::Written, Some("Stop")), "{item}");
        }
    }

    #[test]
    fn a_reaction_a_deletion_and_an_edit_name_their_message() {
        for (kind, text, item) in [
            (
                ContentKind::Reaction,
                Some("👍"),
                json!({"type": "action", "action": {"target": "m1", "type": "reaction", "emoji": "👍"}}),
            ),
            (
                ContentKind::Reaction,
                None,
                json!({"type": "action", "action": {"target": "m1", "type": "reaction", "emoji": ""}}),
            ),
            (
                ContentKind::Reaction,
                Some("👍"),
                json!({"type": "reaction", "reaction": {"message_id": "m1", "emoji": "👍"}}),
            ),
            (
                ContentKind::Reaction,
                Some("👍"),
                json!({"type": "reaction", "reaction": {"messageId": "m1", "text": "👍"}}),
            ),
            (
                ContentKind::Reaction,
                Some("👍"),
                json!({"messageType": "reactionMessage", "message": {"reactionMessage": {"key": {"id": "m1"}, "text": "👍"}}}),
            ),
            (
                ContentKind::Reaction,
                Some("👍"),
                json!({"message": {"reactionMessage": {"key": {"id": "m1"}, "text": "👍"}}}),
            ),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"type": "action", "action": {"target": "m1", "type": "edit", "edited_type": "text", "edited_content": {"body": "New"}}}),
            ),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"type": "action", "action": {"target": "m1", "type": "edited", "edited_content": {"caption": "New"}}}),
            ),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"type": "edit", "edit": {"original_message_id": "m1", "message": {"type": "text", "text": {"body": "New"}}}}),
            ),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"type": "protocolMessage", "message": {"protocolMessage": {"type": "MESSAGE_EDIT", "key": {"id": "m1"}, "editedMessage": {"conversation": "New"}}}}),
            ),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"messageType": "editedMessage", "message": {"editedMessage": {"message": {"protocolMessage": {"type": 14, "key": {"id": "m1"}, "editedMessage": {"extendedTextMessage": {"text": "New"}}}}}}}),
            ),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"type": "editedMessage", "editedMessageData": {"stanzaId": "m1", "textMessage": "New"}}),
            ),
            (ContentKind::Deletion, None, json!({"type": "action", "action": {"target": "m1", "type": "delete"}})),
            (
                ContentKind::Deletion,
                None,
                json!({"type": "action", "action": {"target": "m1", "type": "revoke"}, "body": "gone"}),
            ),
            (ContentKind::Deletion, None, json!({"type": "revoked", "revokedMessageId": "m1", "body": ""})),
            (ContentKind::Deletion, None, json!({"type": "revoke", "revoke": {"original_message_id": "m1"}})),
            (
                ContentKind::Deletion,
                None,
                json!({"message": {"protocolMessage": {"type": "REVOKE", "key": {"id": "m1"}}}}),
            ),
            (
                ContentKind::Deletion,
                None,
                json!({"type": "protocol", "protocolMessage": {"type": 0, "key": {"id": "m1"}}}),
            ),
            (
                ContentKind::Deletion,
                None,
                json!({"messageType": "protocolMessage", "message": {"protocolMessage": {"key": {"id": "m1"}}}}),
            ),
            (ContentKind::Deletion, None, json!({"message": {"protocolMessage": {"key": {"id": "m1"}}}})),
            (ContentKind::Deletion, None, json!({"id": "m1", "messageStubType": "REVOKE"})),
            (ContentKind::Deletion, None, json!({"key": {"id": "m1"}, "messageStubType": 1})),
            (
                ContentKind::Edit,
                Some("New"),
                json!({"message": {"protocolMessage": {"key": {"id": "m1"}, "editedMessage": {"conversation": "New"}}}}),
            ),
        ] {
            let content = parse(&item);
            assert_eq!((content.kind, content.text.as_deref()), (kind, text), "{item}");
            assert_eq!((content.target.as_deref(), content.name.as_str()), (Some("m1"), kind.name()), "{item}");
        }
    }

    #[test]
    fn an_edit_that_only_wraps_the_new_message_keeps_its_text() {
        for item in [
            json!({"type": "editedMessage", "message": {"editedMessage": {"message": {"conversation": "urgent"}}}}),
            json!({"message": {"editedMessage": {"message": {"extendedTextMessage": {"text": "urgent"}}}}}),
            json!({"message": {"editedMessage": {"message": {"imageMessage": {"caption": "urgent"}}}}}),
        ] {
            let LineContent { kind, text, .. } = parse(&item);
            assert_eq!((kind, text.as_deref()), (ContentKind::Edit, Some("urgent")), "{item}");
        }
    }

    #[test]
    fn polls_calls_notices_and_empty_texts_are_not_written() {
        for (kind, items) in [
            (
                ContentKind::Poll,
                vec![
                    json!({"type": "poll", "poll": {"title": "When?", "options": ["now"]}}),
                    json!({"type": "poll_creation", "body": "When?"}),
                    json!({"type": "pollCreationMessageV3", "message": {"pollCreationMessageV3": {"name": "When?"}}}),
                    json!({"message": {"pollUpdateMessage": {"vote": {}}}}),
                    json!({"type": "action", "action": {"target": "m1", "type": "vote", "votes": ["now"]}}),
                    json!({"type": "unsupported", "unsupported": {"type": "poll_creation"}, "errors": [{"code": 131_051}]}),
                ],
            ),
            (
                ContentKind::Call,
                vec![
                    json!({"type": "call", "call": {"status": "missed"}}),
                    json!({"type": "call_log", "body": ""}),
                    json!({"type": "missed_call"}),
                    json!({"type": "missed_voice_call"}),
                    json!({"type": "system", "system": {"type": "missed_call", "body": "Missed voice call"}}),
                    json!({"messageStubType": "CALL_MISSED_VIDEO"}),
                    json!({"messageStubType": 40}),
                    json!({"message": {"callLogMesssage": {"callOutcome": "MISSED"}}}),
                ],
            ),
            (
                ContentKind::Notice,
                vec![
                    json!({"type": "system", "system": {"body": "", "type": "e2e_encrypted"}}),
                    json!({"type": "system", "system": {"body": "A changed to B", "type": "user_changed_number", "new_wa_id": "1"}}),
                    json!({"type": "e2e_notification", "body": ""}),
                    json!({"type": "notification_template"}),
                    json!({"type": "gp2", "subtype": "add"}),
                    json!({"type": "group_notification", "body": "Noa left"}),
                    json!({"messageStubType": "E2E_ENCRYPTED"}),
                    json!({"type": "protocol", "protocolMessage": {"type": "EPHEMERAL_SETTING"}}),
                    json!({"type": "action", "action": {"type": "ephemeral_setting", "ephemeral": 86400}}),
                    json!({"type": "request_welcome"}),
                    json!({"type": "interactive", "interactive": {"type": "call_permission_reply", "call_permission_reply": {"response": "accept"}}}),
                    json!({"interactive": {"type": "call_permission_reply"}}),
                    json!({"type": "call_permission_reply"}),
                    json!({"type": "protocolMessage", "message": {"protocolMessage": {"ephemeralExpiration": 86400}}}),
                    json!({"message": {"senderKeyDistributionMessage": {}}}),
                    json!({"message": {"fastRatchetKeySenderKeyDistributionMessage": {}}}),
                    json!({"messageType": "stickerSyncRmrMessage", "message": {"stickerSyncRmrMessage": {}}}),
                ],
            ),
            (
                ContentKind::Empty,
                vec![
                    json!({"type": "text", "text": {"body": ""}}),
                    json!({"type": "text", "body": " \u{200e} "}),
                    json!({"type": "chat"}),
                    json!({"type": "extendedTextMessage", "message": {}}),
                ],
            ),
        ] {
            for item in items {
                assert_kind(kind, &item);
            }
        }
    }

    #[test]
    fn an_unknown_type_is_written_only_if_it_has_a_text() {
        assert_eq!(parts(&json!({"type": "hologram"})), (ContentKind::Unknown, "hologram".to_owned(), None));
        assert_written("hologram", Some("Hi"), &json!({"type": "hologram", "body": "Hi"}));
        assert_written("unsupported", Some("Hi"), &json!({"type": "unsupported", "text": {"body": "Hi"}}));
        for (name, item) in [
            ("unsupported", json!({"type": "unsupported", "errors": [{"code": 131_051}]})),
            ("unknown", json!({})),
            ("unknown", json!({"type": "a b"})),
            ("unknown", json!({"type": 7, "contact": {"name": "Noa"}})),
            ("ciphertext", json!({"type": "ciphertext"})),
            ("ciphertext", json!({"type": "ciphertext", "messageStubType": "CIPHERTEXT"})),
            ("unknown", json!({"messageStubType": 2, "messageStubParameters": ["No session record"]})),
            ("unknown", json!({"messageStubType": 3})),
        ] {
            let name = if name == "unknown" && item["type"].is_number() { "7" } else { name };
            assert_eq!(parts(&item), (ContentKind::Unknown, name.to_owned(), None), "{item}");
        }
        // It is about an earlier message, whatever it does.
        assert_kind(ContentKind::Action, &json!({"type": "action", "action": {"type": "levitate", "target": "m1"}}));
        assert_kind(ContentKind::Action, &json!({"action": {"type": "levitate", "target": "m1"}}));
        assert_written("action", Some("Hi"), &json!({"type": "action", "action": {"type": "levitate"}, "body": "Hi"}));
        assert_written("unknown", Some("Hi"), &json!({"body": "Hi"}));
        assert_written("text", Some("Hi"), &json!({"text": {"body": "Hi"}}));
        assert_written("text", Some("Hi"), &json!({"text": {"body": "Hi"}, "protocol": "https", "action": {}}));
        assert_kind(ContentKind::Reaction, &json!({"action": {"target": "m1", "type": "reaction", "emoji": "👍"}}));
    }

    #[test]
    fn what_a_message_quotes_is_not_its_text() {
        let quoted = json!({"quoted_id": "m0", "quoted_type": "text", "quoted_content": {"body": "urgent"}});
        assert_kind(ContentKind::Empty, &json!({"type": "text", "context": quoted, "reactions": [{"emoji": "👍"}]}));
        assert_written("image", None, &json!({"type": "image", "image": {"id": "1"}, "context": quoted}));
        assert_written(
            "text",
            Some("Hi"),
            &json!({"text": {"body": "Hi"}, "reactions": [{"emoji": "👍"}], "labels": [], "quoted": {"body": "no"}}),
        );
    }

    proptest! {
        #[test]
        fn any_type_with_any_members_is_read_without_a_panic(
            written_type in "\\PC{0,40}",
            member in prop::sample::select(&["action", "message", "reply", "text", "system", "_data", "poll", "body", "messageStubType"][..]),
            value in prop_oneof![
                Just(Value::Null), Just(json!([])), Just(json!({"type": 1})), Just(json!({"body": {"text": []}})),
                Just(json!({"editedMessage": {"message": {"protocolMessage": 3}}})), ".{0,60}".prop_map(Value::from),
            ],
        ) {
            let content = parse(&json!({"type": written_type, member: value}));
            prop_assert!(is_plain(&content.name) && content.kind.name().is_ascii());
            prop_assert!(content.kind != ContentKind::Empty || content.text.is_none());
        }
    }
}
