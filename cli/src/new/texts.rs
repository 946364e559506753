//! The first texts of a client, in the languages that have them.

/// The texts in one language, as templates.
#[derive(Debug)]
pub(super) struct StarterTexts {
    /// Its code.
    pub(super) language: &'static str,
    /// The order is paid.
    pub(super) paid: &'static str,
    /// The order is ready for pickup.
    pub(super) ready: &'static str,
    /// The order is on its way.
    pub(super) shipped: &'static str,
    /// A reminder of an appointment.
    pub(super) reminder: &'static str,
    /// The answer to a lead.
    pub(super) first_touch: &'static str,
}

/// The texts in all languages that have them.
///
/// A text in Hebrew or Arabic begins with a word in its script, because WhatsApp takes the
/// direction of a message from its first letter.
pub(super) static STARTER_TEXTS: [StarterTexts; 9] = [
    StarterTexts {
        language: "en",
        paid: "Hi{% if first_name %} {{ first_name }}{% endif %}, we have your payment for order {{ order_number }}. Thank you! {{ store_name }}",
        ready: "Hi{% if first_name %} {{ first_name }}{% endif %}, your order {{ order_number }} is ready for you.{% if pickup_location %} Pick it up at {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Hi{% if first_name %} {{ first_name }}{% endif %}, your order {{ order_number }} is on its way.{% if tracking_url %} Follow it here: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Hi{% if first_name %} {{ first_name }}{% endif %}, a reminder of your appointment: {{ start }}. Need another time? Just reply here. {{ business_name }}",
        first_touch: "Hi{% if first_name %} {{ first_name }}{% endif %}, thanks for getting in touch with {{ business_name }}! We'll get back to you soon. A question in the meantime? Just reply here.",
    },
    StarterTexts {
        language: "he",
        paid: "היי{% if first_name %} {{ first_name }}{% endif %}, התשלום על הזמנה {{ order_number }} התקבל, תודה! {{ store_name }}",
        ready: "היי{% if first_name %} {{ first_name }}{% endif %}, הזמנה {{ order_number }} מוכנה ומחכה לך.{% if pickup_location %} נקודת האיסוף: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "היי{% if first_name %} {{ first_name }}{% endif %}, הזמנה {{ order_number }} יצאה לדרך.{% if tracking_url %} אפשר לעקוב אחריה כאן: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "היי{% if first_name %} {{ first_name }}{% endif %}, תזכורת לפגישה שלנו: {{ start }}. צריך לשנות את המועד? אפשר פשוט להשיב כאן. {{ business_name }}",
        first_touch: "היי{% if first_name %} {{ first_name }}{% endif %}, תודה על הפנייה אל {{ business_name }}! נחזור אליך בהקדם. יש שאלה בינתיים? אפשר פשוט להשיב כאן.",
    },
    StarterTexts {
        language: "es",
        paid: "Hola{% if first_name %} {{ first_name }}{% endif %}, hemos recibido el pago de tu pedido {{ order_number }}. ¡Gracias! {{ store_name }}",
        ready: "Hola{% if first_name %} {{ first_name }}{% endif %}, tu pedido {{ order_number }} está listo y te espera.{% if pickup_location %} Punto de recogida: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Hola{% if first_name %} {{ first_name }}{% endif %}, tu pedido {{ order_number }} está en camino.{% if tracking_url %} Puedes seguirlo aquí: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Hola{% if first_name %} {{ first_name }}{% endif %}, te recordamos tu cita: {{ start }}. ¿Necesitas otra hora? Responde a este mensaje. {{ business_name }}",
        first_touch: "Hola{% if first_name %} {{ first_name }}{% endif %}, ¡gracias por escribir a {{ business_name }}! Te contestaremos pronto. ¿Alguna pregunta mientras tanto? Responde a este mensaje.",
    },
    StarterTexts {
        language: "pt",
        paid: "Olá{% if first_name %} {{ first_name }}{% endif %}, recebemos o pagamento do pedido {{ order_number }}. Muito obrigado! {{ store_name }}",
        ready: "Olá{% if first_name %} {{ first_name }}{% endif %}, o pedido {{ order_number }} está pronto à sua espera.{% if pickup_location %} Local: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Olá{% if first_name %} {{ first_name }}{% endif %}, o pedido {{ order_number }} está a caminho.{% if tracking_url %} Acompanhe aqui: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Olá{% if first_name %} {{ first_name }}{% endif %}, um lembrete do seu horário marcado: {{ start }}. Precisa de outro horário? Basta responder a esta mensagem. {{ business_name }}",
        first_touch: "Olá{% if first_name %} {{ first_name }}{% endif %}, obrigado por escrever para {{ business_name }}! Responderemos em breve. Alguma dúvida até lá? Basta responder a esta mensagem.",
    },
    StarterTexts {
        language: "fr",
        paid: "Bonjour{% if first_name %} {{ first_name }}{% endif %}, nous avons bien reçu le paiement de votre commande {{ order_number }}. Merci ! {{ store_name }}",
        ready: "Bonjour{% if first_name %} {{ first_name }}{% endif %}, votre commande {{ order_number }} est prête et vous attend.{% if pickup_location %} Point de retrait : {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Bonjour{% if first_name %} {{ first_name }}{% endif %}, votre commande {{ order_number }} est en route.{% if tracking_url %} Suivez-la ici : {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Bonjour{% if first_name %} {{ first_name }}{% endif %}, un rappel de votre rendez-vous : {{ start }}. Besoin d'un autre horaire ? Répondez simplement à ce message. {{ business_name }}",
        first_touch: "Bonjour{% if first_name %} {{ first_name }}{% endif %}, merci d'avoir contacté {{ business_name }} ! Nous vous répondrons bientôt. Une question d'ici là ? Répondez simplement à ce message.",
    },
    StarterTexts {
        language: "de",
        paid: "Hallo{% if first_name %} {{ first_name }}{% endif %}, die Zahlung für Ihre Bestellung {{ order_number }} ist eingegangen. Vielen Dank! {{ store_name }}",
        ready: "Hallo{% if first_name %} {{ first_name }}{% endif %}, Ihre Bestellung {{ order_number }} liegt für Sie bereit.{% if pickup_location %} Abholung: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Hallo{% if first_name %} {{ first_name }}{% endif %}, Ihre Bestellung {{ order_number }} ist unterwegs.{% if tracking_url %} Hier können Sie sie verfolgen: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Hallo{% if first_name %} {{ first_name }}{% endif %}, eine Erinnerung an Ihren Termin: {{ start }}. Passt es nicht? Antworten Sie einfach auf diese Nachricht. {{ business_name }}",
        first_touch: "Hallo{% if first_name %} {{ first_name }}{% endif %}, vielen Dank für Ihre Anfrage bei {{ business_name }}! Wir melden uns bald. Haben Sie bis dahin eine Frage? Antworten Sie einfach auf diese Nachricht.",
    },
    StarterTexts {
        language: "it",
        paid: "Ciao{% if first_name %} {{ first_name }}{% endif %}, abbiamo ricevuto il pagamento dell'ordine {{ order_number }}. Grazie! {{ store_name }}",
        ready: "Ciao{% if first_name %} {{ first_name }}{% endif %}, l'ordine {{ order_number }} è pronto e ti aspetta.{% if pickup_location %} Punto di ritiro: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Ciao{% if first_name %} {{ first_name }}{% endif %}, l'ordine {{ order_number }} è in viaggio.{% if tracking_url %} Puoi seguirlo qui: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Ciao{% if first_name %} {{ first_name }}{% endif %}, ti ricordiamo l'appuntamento: {{ start }}. Ti serve un altro orario? Rispondi a questo messaggio. {{ business_name }}",
        first_touch: "Ciao{% if first_name %} {{ first_name }}{% endif %}, grazie per aver scritto a {{ business_name }}! Ti risponderemo presto. Hai una domanda nel frattempo? Rispondi a questo messaggio.",
    },
    StarterTexts {
        language: "ar",
        paid: "مرحباً{% if first_name %} {{ first_name }}{% endif %}، استلمنا دفعة الطلب {{ order_number }}. شكراً لكم! {{ store_name }}",
        ready: "مرحباً{% if first_name %} {{ first_name }}{% endif %}، طلبكم {{ order_number }} جاهز وبانتظاركم.{% if pickup_location %} مكان الاستلام: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "مرحباً{% if first_name %} {{ first_name }}{% endif %}، طلبكم {{ order_number }} في الطريق إليكم.{% if tracking_url %} يمكنكم تتبعه هنا: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "مرحباً{% if first_name %} {{ first_name }}{% endif %}، تذكير بموعدكم: {{ start }}. هل تحتاجون إلى وقت آخر؟ يكفي الرد على هذه الرسالة. {{ business_name }}",
        first_touch: "مرحباً{% if first_name %} {{ first_name }}{% endif %}، شكراً لتواصلكم مع {{ business_name }}! سنرد عليكم قريباً. هل لديكم سؤال؟ يكفي الرد على هذه الرسالة.",
    },
    StarterTexts {
        language: "ru",
        paid: "Здравствуйте{% if first_name %}, {{ first_name }}{% endif %}! Оплата заказа {{ order_number }} получена, спасибо. {{ store_name }}",
        ready: "Здравствуйте{% if first_name %}, {{ first_name }}{% endif %}! Заказ {{ order_number }} готов и ждёт вас.{% if pickup_location %} Пункт выдачи: {{ pickup_location }}.{% endif %} {{ store_name }}",
        shipped: "Здравствуйте{% if first_name %}, {{ first_name }}{% endif %}! Заказ {{ order_number }} уже в пути.{% if tracking_url %} Отследить его можно здесь: {{ tracking_url }}{% endif %} {{ store_name }}",
        reminder: "Здравствуйте{% if first_name %}, {{ first_name }}{% endif %}! Напоминаем о записи: {{ start }}. Нужно другое время? Просто ответьте на это сообщение. {{ business_name }}",
        first_touch: "Здравствуйте{% if first_name %}, {{ first_name }}{% endif %}! Спасибо за обращение в {{ business_name }}. Мы скоро ответим. Есть вопрос? Просто ответьте на это сообщение.",
    },
];
